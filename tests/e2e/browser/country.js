// Three portals on three host names behind one gateway, a real SSO, an agency that serves pages, and a browser for each citizen.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { startPortals } from '../portals.js';
import { Driver } from './webdriver.js';

export const [TEHRAN, TAMIN, SABT] = ['portal.tehran.example', 'tamin.example', 'sabt.example'];
const HOSTS = [TEHRAN, TAMIN, SABT];

export class Country {
  static async start() {
    const country = new Country();
    const folder = mkdtempSync(join(tmpdir(), 'darvazeh-browser-'));
    const agency = await startAgency();
    const portals = await startPortals({ folder, hosts: HOSTS, routes: routes(agency.url) });
    const driver = await Driver.start({ home: join(folder, 'home'), ca: join(folder, 'ca.pem') });
    const browsers = [];
    Object.assign(country, { folder, agency, portals, driver, browsers, sso: portals.sso, at: portals.at, ca: portals.ca });
    return country;
  }

  /** A browser for one test. */
  async browser(options) {
    const browser = await this.driver.browser(options);
    this.browsers.push(browser);
    return browser;
  }

  /** Ends the browsers of a test. */
  async farewell() {
    await Promise.all(this.browsers.splice(0).map((browser) => browser.close()));
  }

  async stop() {
    await this.farewell();
    await this.driver.stop();
    const code = await this.portals.stop();
    await this.agency.stop();
    rmSync(this.folder, { recursive: true, force: true });
    return code;
  }

  isSso(url) {
    return url.startsWith(this.sso.issuer);
  }

  /** Waits for the SSO's login form. */
  askedToSignIn(browser) {
    return browser.arrives((url) => url.startsWith(`${this.sso.issuer}/interaction/`));
  }

  /** Fills in the SSO's form with what a citizen presents, and waits until that form is left. */
  async present(browser, { user = '0012345679', ...presented }) {
    const form = await this.askedToSignIn(browser);
    for (const [field, value] of Object.entries({ user, ...presented })) await browser.type(`[name=${field}]`, value);
    await browser.click('#sign-in');
    await browser.arrives((url) => url !== form);
  }

  /** The same, until they are back at a portal. */
  async signIn(browser, presented) {
    await this.present(browser, presented);
    return browser.arrives((url) => !this.isSso(url) && !url.includes('/.gateway/login'));
  }

  /** A browser that signed in at a portal with a password. */
  async citizen(options) {
    const browser = await this.browser(options);
    await browser.go(this.at(TEHRAN, '/l1/'));
    await this.signIn(browser, { password: 'secret' });
    return browser;
  }

  /** What reached the agency. */
  seen(method, path) {
    return this.agency.seen.filter((one) => one.method === method && one.path.startsWith(path));
  }
}

/** Serves a page for whatever is asked, with forms that lead to level 3, and keeps what reached it in `seen`. */
async function startAgency() {
  const seen = [];
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    seen.push({ method: request.method, path: request.url, headers: request.headers, body });
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end(page(request));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    seen,
    url: `http://127.0.0.1:${server.address().port}`,
    stop: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}

const page = ({ method, url }) => `<!DOCTYPE html>
<html lang="fa" dir="rtl"><head><title>${method} ${url.split('?')[0]}</title></head><body>
<h1 id="private">پروندهٔ شخصی</h1>
<a id="next" href="/l1/next">next</a>
<form id="pay" method="post" action="/l3/pay?ref=7">
<input name="amount" value="1000"><textarea name="note">سلام، ۱۲۳</textarea><button>pay</button></form>
<form id="letter" method="post" action="/l3/letter" enctype="multipart/form-data">
<input name="title" value="نامه"><input name="scan" type="file"><button>send</button></form>
${url === '/l1/who' ? '<script>fetch("/.gateway/session").then((a) => a.json()).then((a) => { document.body.dataset.level = a.level; })</script>' : ''}
</body></html>
`;

const routes = (agency) => `\
contact:
  name: { fa: درگاه ملی خدمات, en: National Services Gateway }
  phone: "+98-21-0000-0000"
  email: help@example.ir
  url: https://help.example.ir/
agencies:
  registry:
    title: { fa: سازمان ثبت, en: Registry }
    scope: national
    endpoints: ["${agency}"]
  gone:
    title: { fa: سازمان دیگر, en: Another }
    scope: national
    endpoints: ["http://127.0.0.1:1"]
routes:
  - { name: open, agency: registry, match: { hosts: [${HOSTS.join(', ')}], prefix: /open }, require: { level: 0 } }
  - { name: broken, agency: gone, match: { hosts: [${HOSTS.join(', ')}], prefix: /broken }, require: { level: 0 } }
${[1, 2, 3].map((level) => `\
  - name: l${level}
    agency: registry
    match: { hosts: [${HOSTS.join(', ')}], prefix: /l${level} }
    require: { level: ${level}, via: session }`).join('\n')}
`;
