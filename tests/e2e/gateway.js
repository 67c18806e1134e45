// The gateway under test, and an agency behind it that shows what reached it.

import { execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { call } from './wire.js';
import { AUDIENCE, LEVELS } from './sso.js';

const PROGRAM = process.env.DARVAZEH_BIN ?? '../../target/debug/darvazeh';
/** Long enough for a debug build on a busy machine. */
const START_LIMIT = Number(process.env.START_LIMIT ?? 20_000);

/** Development CA, and a certificate for `localhost` and `hosts` that the SSO and the gateway both show. */
export function certificates(folder, hosts = []) {
  const names = ['localhost', ...hosts].flatMap((host) => ['--host', host]);
  execFileSync(PROGRAM, ['certs', 'dev', '--out', folder, ...names]);
  const read = (name) => readFileSync(join(folder, name));
  return { ca: read('ca.pem'), tls: { cert: read('gateway.pem'), key: read('gateway.key') } };
}

/** An agency that answers every request with the headers it saw. `seen` counts the requests. */
export async function startAgency() {
  const agency = { seen: 0 };
  const server = createServer((request, response) => {
    agency.seen += 1;
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ path: request.url, headers: request.headers }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  agency.url = `http://127.0.0.1:${server.address().port}`;
  agency.stop = () => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
  return agency;
}

export class Gateway {
  /** Writes `yaml` as `routes.yaml` into `folder` (where the certificates lie) and starts on free ports. */
  static async start({ folder, ca, issuer, agency, yaml = routes({ issuer, agency }) }) {
    const config = join(folder, 'routes.yaml');
    writeFileSync(config, yaml);
    const gateway = new Gateway();
    await gateway.#spawn(config, ca);
    return gateway;
  }

  async #spawn(config, ca) {
    Object.assign(this, { config, ca, output: '' });
    this.child = spawn(PROGRAM, ['run', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout.on('data', (bytes) => { this.output += bytes; });
    this.exit = new Promise((resolve) => this.child.once('exit', (code, signal) => resolve(code ?? signal)));
    const ready = new Promise((resolve, reject) => {
      createInterface(this.child.stderr).on('line', (line) => {
        this.output += `${line}\n`;
        const found = /ready listeners=public=\S+:(\d+) admin=(\S+)/.exec(line);
        if (found) resolve(found);
      });
      this.exit.then((code) => reject(new Error(`the gateway ended (${code}) before it was ready:\n${this.output}`)));
      setTimeout(() => reject(new Error(`the gateway is not ready:\n${this.output}`)), START_LIMIT).unref();
    });
    const [, port, admin] = await ready;
    this.port = Number(port);
    this.url = `https://localhost:${port}`;
    this.admin = `http://${admin}`;
  }

  /** GET with a Bearer token, or without. */
  get(path, token) {
    return call(this.url + path, { headers: token === undefined ? {} : { authorization: `Bearer ${token}` }, ca: this.ca });
  }

  /** Waits until `/readyz` says 200: the issuer's keys are there. */
  async keysAreLoaded() {
    await eventually('readyz', async () => (await fetch(`${this.admin}/readyz`)).status === 200);
  }

  /** Drains and ends; returns the exit code. */
  async stop() {
    this.child.kill('SIGTERM');
    return this.exit;
  }

  /** The same config in a new process: what it knows, it knows from `state_dir`. */
  async restart() {
    await this.stop();
    await this.#spawn(this.config, this.ca);
  }
}

/** Repeats `probe` until it is true; what is waited for shows only at the program's outside. */
export async function eventually(what, probe, limit = 30_000) {
  const end = Date.now() + limit;
  while (!await probe()) {
    if (Date.now() > end) throw new Error(`${what}: not within ${limit} ms`);
    await new Promise((resolve) => { setTimeout(resolve, 200); });
  }
}

const routes = ({ issuer, agency }) => `\
version: 1
listeners:
  - name: public
    address: 127.0.0.1:0
    tls: { certificates: [{ cert: gateway.pem, key: gateway.key }] }
admin: { address: "127.0.0.1:0" }
state_dir: var
issuers:
  sso:
    issuer: ${issuer}
    ca: ca.pem
    audiences: [${AUDIENCE}]
    levels:
      values: ${JSON.stringify(LEVELS)}
agencies:
  social-security:
    title: { fa: سازمان تأمین اجتماعی, en: Social Security Organization }
    scope: national
    endpoints: ["${agency}"]
routes:
  - { name: news, agency: social-security, match: { prefix: /news }, require: { level: 0 } }
  - { name: profile, agency: social-security, match: { prefix: /profile }, require: { level: 1 } }
  - name: insurance
    agency: social-security
    match: { prefix: /insurance }
    require: { level: 2, scopes: [insurance.read] }
  - { name: pension, agency: social-security, match: { prefix: /pension }, require: { level: 3 } }
  - { name: payment, agency: social-security, match: { prefix: /payment }, require: { level: 2, max_age: 15m } }
`;
