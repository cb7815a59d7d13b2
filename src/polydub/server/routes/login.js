"use strict";
{
  const form = document.forms[0];
  const said = document.getElementById("said");
  const behind = location.hash.slice(1); // the secret of a link, or the challenge that one was answered with
  let challenge = behind.startsWith("challenge=") ? behind.slice("challenge=".length) : "";
  const token = challenge ? "" : behind;
  history.replaceState(null, "", "/login"); // a link that was used need not stay in the address line

  const send = async (path, body) => {
    const answer = await fetch(path, {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
    });
    return answer.ok ? null : (await answer.json()).error;
  };

  const ask = () => {
    document.getElementById("code").hidden = false;
    form.elements.code.focus();
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const error = challenge
      ? await send("/api/auth/login/second-factor", { challenge, code: form.elements.code.value })
      : await send("/api/auth/login/link", { token });
    if (!error) {
      location.replace("/dashboard");
      return;
    }
    if (error.code === "second_factor_required") {
      challenge = error.challenge;
      ask();
      said.textContent = "";
    } else {
      said.textContent = `${error.message}. ${error.hint || ""}`;
    }
  });

  if (challenge) {
    ask();
  } else if (!token) {
    form.hidden = true;
    said.textContent = "Open a login link. Whoever looks after the server makes one: polydub admin login-link";
  }
}
