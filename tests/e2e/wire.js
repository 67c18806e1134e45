// One HTTPS request with an own CA, and the reading of challenges.

import { request } from 'node:https';
import { text } from 'node:stream/consumers';

/** Sends one request on a connection of its own. Names always resolve to 127.0.0.1. `path`: instead of the URL's, as it is. */
export async function call(url, { method = 'GET', headers = {}, body, ca, path }) {
  const { hostname, port, pathname, search } = new URL(url);
  const response = await new Promise((resolve, reject) => {
    request({
      host: '127.0.0.1', port, servername: hostname, ca, method, path: path ?? pathname + search, agent: false, timeout: 10_000,
      headers: { host: port ? `${hostname}:${port}` : hostname, ...headers },
    }, resolve).once('error', reject).once('timeout', () => reject(new Error(`${url}: no answer`))).end(body);
  });
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

/** The parameters of a `WWW-Authenticate: Bearer …` challenge. */
export function challenge(reply) {
  const value = reply.headers['www-authenticate'] ?? '';
  if (!value.startsWith('Bearer')) throw new Error(`no Bearer challenge: ${value}`);
  return Object.fromEntries([...value.matchAll(/(\w+)="([^"]*)"/g)].map(([, name, text]) => [name, text]));
}
