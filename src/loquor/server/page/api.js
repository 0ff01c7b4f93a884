/* Requests to this server: the key, if it asks for one, and its errors. */

const KEPT = "loquor-key"; // in sessionStorage: forgotten with the tab

/** What the server said no to: `status` 0 means that it did not answer. */
export class Refusal extends Error {
  constructor(status, message, retry_after_s = null) {
    super(message);
    Object.assign(this, { status, retry_after_s });
  }
}

export function key() {
  return sessionStorage.getItem(KEPT) ?? "";
}

export function keepKey(secret) {
  sessionStorage.setItem(KEPT, secret);
}

/** The JSON that answers a request; throws Refusal. */
export async function ask(path, options = {}) {
  const headers = key() ? { Authorization: `Bearer ${key()}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Refusal(0, "");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(answer.status, said.error?.message ?? "", answer.headers.get("retry-after"));
  return said;
}
