"use strict";

// The token stands behind the #, where no server sees it.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const verify = document.getElementById("verify");
const reset = document.getElementById("reset");
const ask = document.getElementById("ask");
const message = document.getElementById("message");

function say(text, kind) {
  message.textContent = text;
  message.className = `message ${kind}`;
  message.hidden = false;
  message.focus();
}

function askForNewLink(text) {
  (verify || reset).hidden = true;
  ask.hidden = false;
  say(text, "error");
}

function finish(text) {
  (verify || reset).hidden = true;
  // So that the token does not stay in the history of the browser.
  history.replaceState(null, "", location.pathname);
  say(text, "good");
}

/** Calls the API; gives the problem document if there is one, null if all went well. */
async function call(path, body) {
  const response = await fetch(`../api/v1/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.ok) return null;
  return response.json().catch(() => ({ detail: "The service has a problem. Please try again later." }));
}

function words(problem) {
  if (!problem.errors) return problem.detail;
  const names = { "/email": "The address", "/password": "The password", "/token": "The link" };
  return problem.errors.map((error) => `${names[error.pointer] || "It"} ${error.detail}.`).join(" ");
}

function isAboutTheLink(problem) {
  return /bad-(verification|reset)-link$/.test(problem.type)
    || (problem.errors || []).some((error) => error.pointer === "/token");
}

function onSubmit(form, act) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      await act();
    } catch {
      say("The service cannot be reached. Please try again.", "error");
    } finally {
      button.disabled = false;
    }
  });
}

const password = document.getElementById("password");
document.getElementById("show").addEventListener("change", (event) => {
  password.type = event.target.checked ? "text" : "password";
});

function askForAnother(text) {
  say(text, "error");
  password.setAttribute("aria-invalid", "true");
  password.focus();
}

if (verify) {
  onSubmit(verify, async () => {
    const problem = await call("auth/verify", { token, current_password: password.value });
    if (!problem) finish("Thank you, your address is confirmed. You can close this page.");
    else if (/already-verified$/.test(problem.type)) finish("Your address is confirmed already. You can close this page.");
    else if (isAboutTheLink(problem)) askForNewLink("This link is not good any more.");
    else if (/wrong-password$/.test(problem.type)) askForAnother("The password is wrong.");
    else say(words(problem), "error");
  });
}

if (reset) {
  onSubmit(reset, async () => {
    const problem = await call("auth/reset-password", { token, password: password.value });
    if (!problem) finish("Your new password is set, and you are signed out everywhere. You can close this page.");
    else if (isAboutTheLink(problem)) askForNewLink("This link is not good any more: it was used, or it is too old.");
    else askForAnother(words(problem));
  });
}

onSubmit(ask, async () => {
  const problem = await call(ask.dataset.path, { email: document.getElementById("email").value });
  if (problem) say(words(problem), "error");
  else {
    ask.hidden = true;
    say("If that address belongs to an account, a mail with a new link is on its way.", "good");
  }
});

// A second link that is opened in the same tab changes nothing but what stands behind the #.
addEventListener("hashchange", () => location.reload());

if (token) (verify || reset).hidden = false;
else askForNewLink("The link is not complete. Please copy all of it from the mail.");
