// A citizen's browser, played by hand: cookies by host, redirects followed, the SSO's forms filled in.

import { call } from './wire.js';

/** What browsers say of a navigation, and of a page's `fetch()`. */
export const NAVIGATION = { accept: 'text/html', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
export const SCRIPT = { accept: '*/*', 'sec-fetch-mode': 'cors', 'sec-fetch-site': 'same-origin' };

export class Citizen {
  #jars = new Map();

  /** How often the SSO showed a login form. */
  logins = 0;

  /** `proof` is how they log in when asked. */
  constructor({ ca, proof, user = '0012345679' }) {
    Object.assign(this, { ca, proof, user });
  }

  /** Types an address, and goes wherever that leads. */
  async go(start) {
    let [url, method, body] = [new URL(start), 'GET', undefined];
    for (let step = 0; step < 30; step += 1) {
      const reply = await this.request(method, url, body);
      const form = /<form[^>]*method="post"[^>]*action="([^"]+)"/.exec(reply.body);
      const xsrf = /name="xsrf" value="([^"]+)"/.exec(reply.body);
      const link = /id="go"[^>]*href="([^"]+)"/.exec(reply.body);
      [method, body] = ['GET', undefined];
      if (reply.headers.location) url = new URL(reply.headers.location, url);
      else if (link) url = new URL(link[1].replaceAll('&amp;', '&'));
      else if (url.pathname.startsWith('/interaction/')) {
        this.logins += 1;
        [method, body] = ['POST', new URLSearchParams({ user: this.user, proof: this.proof, ago: 0 }).toString()];
      } else if (xsrf) {
        url = new URL(form[1], url);
        [method, body] = ['POST', new URLSearchParams({ xsrf: xsrf[1], logout: 'yes' }).toString()];
      } else return { ...reply, url: url.href };
    }
    throw new Error(`redirected without end: ${url}`);
  }

  /** As a page's script asks. */
  fetch(url) {
    return this.request('GET', new URL(url), undefined, SCRIPT);
  }

  async request(method, url, body, fields = NAVIGATION) {
    const cookie = this.cookie(url.host);
    const form = body !== undefined && { 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length };
    const headers = { ...(form && { 'sec-fetch-site': 'same-origin' }), ...fields, ...(cookie && { cookie }), ...form };
    const reply = await call(url, { method, headers, body, ca: this.ca });
    const jar = this.jar(url.host);
    for (const line of reply.headers['set-cookie'] ?? []) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value && !/max-age=0/i.test(line)) jar.set(name, value);
      else jar.delete(name);
    }
    return reply;
  }

  /** The cookies of a host with its port, to look at or to add to. */
  jar(host) {
    return this.#jars.get(host) ?? this.#jars.set(host, new Map()).get(host);
  }

  cookie(host) {
    return [...this.jar(host)].map(([name, value]) => `${name}=${value}`).join('; ');
  }
}
