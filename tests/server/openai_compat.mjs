// The compatibility tests of tests/server/README.md by OpenAI's client for Node: says what it saw, as JSON, by number.
import OpenAI, { APIError, APIUserAbortError, toFile } from 'openai';
import fs from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const [url, key, between] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 });
const { speech, transcriptions, translations } = client.audio;
const TEXT = 'The river runs quietly under the old bridge. Nobody saw it go. In the evening the lamps are lit, one by one.';
const told = {};
const say = (how) => speech.create({ model: 'tts-1', voice: 'nova', input: 'One. Two.', ...how });
const bytes = async (answer) => Buffer.from(await (await answer).arrayBuffer());
const talk = () => fs.createReadStream('talk.wav');
const hear = (how) => transcriptions.create({ model: 'fake', file: talk(), ...how });
const refusal = async (wait) => {
  try { await wait; } catch (error) { return [error.constructor.name, error.status, error.code, error.param ?? null]; }
  return null;
};
const listed = async (stream) => { const all = []; for await (const one of await stream) all.push(one); return all; };
const sign = (name) => fs.writeFileSync(name, '');
const seen = async (name) => { while (!fs.existsSync(name)) await new Promise((go) => setTimeout(go, 20)); };

told[1] = {};
for (const response_format of ['mp3', 'opus', 'aac', 'flac', 'wav', 'pcm']) {
  const answer = await say({ input: TEXT, response_format });
  fs.writeFileSync(`said.${response_format}`, await bytes(answer));
  told[1][response_format] = answer.headers.get('content-type');
}

const early = (await say({ model: 'gated', voice: 'high', input: TEXT, response_format: 'wav' })).body.getReader();
const pieces = [Buffer.from((await early.read()).value)];
sign('first'); // only now is the last sentence made
for (let piece = await early.read(); !piece.done; piece = await early.read()) pieces.push(Buffer.from(piece.value));
fs.writeFileSync('gated.wav', Buffer.concat(pieces));

await pipeline(Readable.fromWeb((await say({ input: TEXT })).body), fs.createWriteStream('written.mp3'));

const lines = (await (await say({ response_format: 'wav', stream_format: 'sse' })).text()).split('\n').filter((line) => line);
const deltas = lines.map((line) => JSON.parse(line.slice('data: '.length)));
const done = deltas.pop();
const joined = Buffer.concat(deltas.map((one) => Buffer.from(one.audio, 'base64')));
told[4] = [deltas.every((one) => one.type === 'speech.audio.delta'), done.type, done.usage,
  joined.equals(await bytes(say({ response_format: 'wav' })))];

const names = ['alloy', 'ash', 'ballad', 'coral', 'echo', 'fable', 'onyx', 'nova', 'sage', 'shimmer', 'verse', 'marin', 'cedar'];
const voices = [];
for (const voice of names) voices.push(await bytes(say({ input: 'One.', voice, response_format: 'pcm' })));
told[5] = { different: new Set(voices.map((sound) => sound.toString('base64'))).size, shortest: Math.min(...voices.map((s) => s.length)),
  byId: (await bytes(say({ input: 'One.', voice: { id: 'nova' }, response_format: 'pcm' }))).equals(voices[7]),
  unknown: await refusal(say({ voice: 'nobody' })) };

told[6] = [];
for (const speed of [0.25, 4, 0.24, 4.01]) told[6].push(await refusal(say({ model: 'fake', voice: 'low', speed })));

told[7] = { longest: await refusal(say({ model: 'fake', voice: 'high', input: 'word '.repeat(900).slice(0, 4096) })) };
const inputs = { longer: 'x'.repeat(4097), empty: '', blank: ' \n', half: 'half \ud800 one', smile: 'A \u{1f600}.', zero: 'A \0 z.' };
for (const [name, input] of Object.entries(inputs)) told[7][name] = await refusal(say({ input }));

told[8] = {};
for (const response_format of ['json', 'text', 'srt', 'verbose_json', 'vtt', 'diarized_json']) {
  told[8][response_format] = await hear({ response_format });
}

told[9] = [];
for (const timestamp_granularities of [[], ['word'], ['segment'], ['word', 'segment']]) {
  const heard = await hear({ response_format: 'verbose_json', timestamp_granularities });
  told[9].push([!!heard.segments?.length, !!heard.words?.length]);
}
told[9].push(await refusal(hear({ response_format: 'verbose_json', timestamp_granularities: ['letter'] })));

const data = fs.readFileSync('talk.wav');
const ways = [talk(), await toFile(data, 'talk'), await toFile(talk(), 'talk.mp3'), new File([data], 'talk.txt', { type: 'text/plain' }),
  new Response(data), await toFile(data, '../../x.wav')];
told[10] = [];
for (const file of ways) told[10].push((await hear({ file })).text);
told.film = (await hear({ file: fs.createReadStream('film.mp4'), response_format: 'verbose_json' })).duration;

const events = await listed(hear({ stream: true }));
told[11] = [events.map((event) => event.type), events.map((event) => event.delta ?? '').join('') === events.at(-1).text];
const diarized = { model: 'gpt-4o-transcribe-diarize', response_format: 'diarized_json', language: 'en', stream: true };
told[12] = (await listed(hear(diarized))).map((event) => [event.type, event.speaker ?? null]);

told[13] = { seen: [] };
try {
  for await (const event of await hear({ model: 'breaking', stream: true })) told[13].seen.push(event.type);
} catch (error) { told[13].stream = [error instanceof APIError, error.status ?? null]; }
told[13].whole = await refusal(hear({ model: 'breaking' }));
const begun = await say({ model: 'gated', voice: 'high', input: TEXT.replace('lamps', 'breaks') });
told[13].sound = [begun.status, await bytes(begun).then(() => 'whole', () => 'broken')];

const again = new OpenAI({ baseURL: between, apiKey: key, maxRetries: 2 });
const tried = await again.audio.speech.create({ model: 'tts-1', voice: 'nova', input: 'One.' }).withResponse();
told[15] = [tried.response.headers.get('x-seen-retries')];
try { await client.withOptions({ maxRetries: 3 }).audio.speech.create({ model: 'kokoro', voice: 'nova', input: 'One.' }); }
catch (error) { told[15].push(error.status, error.headers.get('x-should-retry')); }

told[16] = { models: await listed(client.models.list()), missing: [] };
told[16].same = await client.models.retrieve('tts-1');
for (const name of ['nothing', 'org/name', 'a/b/c']) told[16].missing.push(await refusal(client.models.retrieve(name)));

const many = await Promise.all(Array.from({ length: 20 }, (_, n) => bytes(say({ input: `Number ${n}. ${TEXT}` }))));
told[17] = many.map((sound) => sound.length);

const leaving = new AbortController();
const long = Array.from({ length: 80 }, (_, n) => `This is the sentence of the number ${n}.`).join(' ');
const left = await speech.create({ model: 'gated', voice: 'high', input: long }, { signal: leaving.signal });
await left.body.getReader().read();
leaving.abort();
sign('left');
await seen('freed'); // while this program still runs: nothing but the abort has told the server
const gone = AbortSignal.abort();
try { await speech.create({ model: 'tts-1', voice: 'nova', input: 'One.' }, { signal: gone }); }
catch (error) { told[18] = error instanceof APIUserAbortError; }

told[19] = [await refusal(say({ seed: 7 })), await refusal(hear({ vad_filter: 'true', chunking_strategy: 'auto', include: ['logprobs'] }))];

told[20] = {};
for (const response_format of ['json', 'text', 'srt', 'verbose_json', 'vtt']) {
  told[20][response_format] = await translations.create({ model: 'fake', file: talk(), response_format });
}

told[21] = {};
for (const model of ['tts-1', 'tts-1-hd', 'gpt-4o-mini-tts']) {
  told[21][model] = (await say({ model })).headers.get('x-polydub-engine');
}
for (const model of ['whisper-1', 'gpt-4o-transcribe', 'gpt-4o-transcribe-diarize', 'gpt-transcribe']) {
  const { data: heard, response } = await hear({ model, language: 'en' }).withResponse();
  told[21][model] = heard.text && response.headers.get('x-polydub-engine');
}

const raw = await hear({}).withResponse();
told[22] = [raw.request_id === raw.response.headers.get('x-request-id'), raw.response.headers.get('cache-control'),
  (await say({}).asResponse()).headers.get('x-polydub-engine')];
console.log(JSON.stringify(told));
