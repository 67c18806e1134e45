// A client of chromedriver: W3C WebDriver over HTTP, as far as the tests need it, and the DevTools commands behind
// `goog/cdp/execute` for what WebDriver has no word for. Chromium and chromedriver are those of the system.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const CHROMEDRIVER = process.env.CHROMEDRIVER ?? '/usr/bin/chromedriver';
const SCREENSHOTS = process.env.SCREENSHOTS ?? new URL('../../../target/screenshots', import.meta.url).pathname;
const ELEMENT = 'element-6066-11e4-a52e-4f735466cecf';
const START_LIMIT = 30_000;

/** Keys as WebDriver names them (section 17.4.2). */
export const KEY = { tab: '\uE004', enter: '\uE007' };

/** One chromedriver. Its browsers trust the CA in `ca` (a PEM file), and keep everything below `home`. */
export class Driver {
  static async start({ home, ca }) {
    // Where Chromium on Linux looks for what its user trusts: so certificates are verified, rather than errors ignored.
    for (const folder of ['.pki/nssdb', '.local/share/pki/nssdb']) {
      const store = join(home, folder);
      mkdirSync(store, { recursive: true });
      execFileSync('certutil', ['-d', `sql:${store}`, '-N', '--empty-password']);
      execFileSync('certutil', ['-d', `sql:${store}`, '-A', '-t', 'C,,', '-n', 'development CA', '-i', ca]);
    }
    const driver = new Driver();
    const env = { ...process.env, HOME: home, XDG_CONFIG_HOME: join(home, '.config'), XDG_CACHE_HOME: join(home, '.cache') };
    delete env.XDG_DATA_HOME;
    driver.child = spawn(CHROMEDRIVER, ['--port=0'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    driver.exit = new Promise((resolve) => driver.child.once('exit', resolve));
    driver.url = await new Promise((resolve, reject) => {
      createInterface(driver.child.stdout).on('line', (line) => {
        const found = /started successfully on port (\d+)/.exec(line);
        if (found) resolve(`http://127.0.0.1:${found[1]}`);
      });
      driver.child.once('error', reject);
      setTimeout(() => reject(new Error('chromedriver does not start')), START_LIMIT).unref();
    });
    return driver;
  }

  async stop() {
    this.child.kill('SIGTERM');
    await this.exit;
  }

  /** A browser with a profile of its own, in which every name is this machine's. */
  async browser({ language = 'fa', width = 1280, height = 900, prefs = {} } = {}) {
    const args = [
      '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-sync',
      '--disable-background-networking', '--disable-component-update', '--hide-scrollbars', `--lang=${language}`,
      '--host-resolver-rules=MAP * 127.0.0.1', `--window-size=${width},${height}`,
    ];
    const preferences = { 'intl.accept_languages': language, ...prefs };
    const capabilities = {
      alwaysMatch: {
        pageLoadStrategy: 'normal',
        'goog:chromeOptions': { binary: CHROMIUM, args, prefs: preferences },
      },
    };
    const { sessionId } = await command(`${this.url}/session`, 'POST', { capabilities });
    return new Browser(`${this.url}/session/${sessionId}`);
  }
}

async function command(url, method, body) {
  const reply = await fetch(url, { method, body: body && JSON.stringify(body) });
  const { value } = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(`${value.error}: ${value.message.split('\n')[0]}`), { code: value.error });
  return value;
}

/** A browser; what is asked of it is asked of the tab it is at. */
export class Browser {
  constructor(session) {
    this.session = session;
  }

  #post(path, body = {}) {
    return command(this.session + path, 'POST', body);
  }

  #get(path) {
    return command(this.session + path, 'GET');
  }

  close() {
    return command(this.session, 'DELETE');
  }

  /** Goes there, and returns once the last page of the way is loaded. */
  go(url) {
    return this.#post('/url', { url });
  }

  url() {
    return this.#get('/url');
  }

  title() {
    return this.#get('/title');
  }

  back() {
    return this.#post('/back');
  }

  reload() {
    return this.#post('/refresh');
  }

  async find(css) {
    return (await this.#post('/element', { using: 'css selector', value: css }))[ELEMENT];
  }

  async has(css) {
    return (await this.#post('/elements', { using: 'css selector', value: css })).length > 0;
  }

  /** The text that is shown, without what is hidden. */
  async text(css = 'body') {
    return this.#get(`/element/${await this.find(css)}/text`);
  }

  async click(css) {
    await this.#post(`/element/${await this.find(css)}/click`);
  }

  async type(css, text) {
    await this.#post(`/element/${await this.find(css)}/value`, { text });
  }

  /** Presses keys one after the other, wherever the focus is. */
  async press(...keys) {
    const actions = keys.flatMap((value) => [{ type: 'keyDown', value }, { type: 'keyUp', value }]);
    await this.#post('/actions', { actions: [{ type: 'key', id: 'keyboard', actions }] });
  }

  /** Runs a function's body in the page; a promise is awaited. */
  run(script, ...args) {
    return this.#post('/execute/sync', { script, args });
  }

  /** Asks for `url` as a script of the page would, and follows nothing. */
  fetch(url, init = {}) {
    return this.run(`const ask = async (url, init) => {
      const reply = await fetch(url, { redirect: 'manual', ...init });
      return { status: reply.status, type: reply.type, body: await reply.text() };
    };
    return ask(...arguments);`, url, init);
  }

  /** The code that an error page of the gateway shows to whom it may concern. */
  code() {
    return this.run(`return document.querySelector('details bdi')?.textContent`);
  }

  /** Waits for an error page of the gateway. */
  refused(code) {
    return this.arrives(async () => await this.code() === code);
  }

  /** A command of the DevTools protocol. */
  cdp(cmd, params = {}) {
    return this.#post('/goog/cdp/execute', { cmd, params });
  }

  tab() {
    return this.#get('/window');
  }

  async newTab() {
    const { handle } = await this.#post('/window/new', { type: 'tab' });
    await this.at(handle);
    return handle;
  }

  at(handle) {
    return this.#post('/window', { handle });
  }

  /** Looks as a window so many CSS pixels wide does; `scale` 2 is what a zoom of 200 % makes of a screen twice as wide. */
  async resize(width, height, scale = 1) {
    await this.cdp('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: scale, mobile: false });
  }

  /** Keeps a picture of the whole page as `NAME.png`. */
  async picture(name) {
    const { data } = await this.cdp('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
    const file = join(SCREENSHOTS, `${name}.png`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, Buffer.from(data, 'base64'));
    return file;
  }

  /** Waits until the page that is shown fits `fits(url)`, for steps that scripts and redirects take by themselves. */
  async arrives(fits, limit = 20_000) {
    const end = Date.now() + limit;
    for (;;) {
      const url = await this.url();
      if (await fits(url) && await this.run('return document.readyState') === 'complete') return url;
      if (Date.now() > end) throw new Error(`still at ${url}:\n${await this.text()}`);
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
  }
}
