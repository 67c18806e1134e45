// A person with a browser and the portal's page: cookies, redirects, a login form, and the authorization code flow with PKCE.

import { createHash, randomBytes } from 'node:crypto';
import { call } from './wire.js';
import { AUDIENCE, CLIENT } from './sso.js';

const random = () => randomBytes(32).toString('base64url');

/** Keeps one SSO session over several logins, as a browser does. */
export class Person {
  #cookies = new Map();

  constructor({ sso, ca, user = 'a-citizen' }) {
    Object.assign(this, { sso, ca, user });
  }

  /**
   * Runs the whole flow and returns the token response. `proof` is how the person logs in when asked; `asked` is
   * `{acr_values, max_age}` as read from a challenge; `ago` pretends that the login lies so many seconds back.
   */
  async tokens({ proof, asked = {}, ago = 0, scope = 'openid insurance.read' }) {
    const [verifier, state, nonce] = [random(), random(), random()];
    const metadata = await this.#json('GET', `${this.sso.issuer}/.well-known/openid-configuration`);
    const authorize = new URL(metadata.authorization_endpoint);
    authorize.search = new URLSearchParams({
      response_type: 'code', client_id: CLIENT.id, redirect_uri: CLIENT.redirect, resource: AUDIENCE, scope, state, nonce,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256', ...asked,
    });
    const back = await this.#walk(authorize, new URLSearchParams({ user: this.user, proof, ago }));
    if (back.searchParams.get('state') !== state || back.searchParams.get('iss') !== this.sso.issuer) {
      throw new Error(`the callback is not ours: ${back}`);
    }
    return this.#json('POST', metadata.token_endpoint, {
      grant_type: 'authorization_code', code: back.searchParams.get('code'), redirect_uri: CLIENT.redirect,
      client_id: CLIENT.id, code_verifier: verifier, resource: AUDIENCE,
    });
  }

  /** How often the person was shown a login form. */
  logins = 0;

  async #walk(start, form) {
    let [url, method, body] = [start, 'GET', undefined];
    for (let step = 0; step < 20; step += 1) {
      const reply = await this.#request(method, url, body);
      if (reply.status === 200 && reply.body.includes('<form')) {
        this.logins += 1;
        [method, body] = ['POST', form.toString()];
        continue;
      }
      if (!reply.headers.location) throw new Error(`no way on from ${url.pathname}: ${reply.status} ${reply.body}`);
      url = new URL(reply.headers.location, url);
      if (url.href.startsWith(CLIENT.redirect)) return url;
      [method, body] = ['GET', undefined];
    }
    throw new Error('the SSO redirects without end');
  }

  async #json(method, url, form) {
    const reply = await this.#request(method, new URL(url), form && new URLSearchParams(form).toString());
    if (reply.status !== 200) throw new Error(`${url}: ${reply.status} ${reply.body}`);
    return JSON.parse(reply.body);
  }

  async #request(method, url, body) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { cookie, ...(body && { 'content-type': 'application/x-www-form-urlencoded' }) };
    const reply = await call(url, { method, headers, body, ca: this.ca });
    for (const line of reply.headers['set-cookie'] ?? []) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value) this.#cookies.set(name, value);
      else this.#cookies.delete(name);
    }
    return reply;
  }
}
