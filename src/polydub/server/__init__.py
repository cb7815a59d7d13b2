"""The server: API, accounts, durable jobs, speech services. Imported by `polydub serve`, `worker` and `admin` alone."""
