// The gateway, an agency that records what reaches it, tokens, and a client that sends its bytes as they are written.

import { execFileSync, spawn } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const PROGRAM = process.env.DARVAZEH_BIN ?? new URL('../../target/debug/darvazeh', import.meta.url).pathname;
export const EXAMPLES = new URL('../../deploy/integrations/', import.meta.url).pathname;
export const HOST = 'portal.tax.example.ir';
/** Long enough for a debug build on a busy machine. */
const PATIENCE = 30_000;

export function temporary() {
  const folder = mkdtempSync(join(tmpdir(), 'darvazeh-integrations-'));
  // Servers that root starts serve as somebody else, who needs to get to what is readable. Keys are not.
  chmodSync(folder, 0o711);
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** A port that was free a moment ago, for programs that cannot choose one and say which. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createTcpServer().once('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** An agency that keeps every request it saw; `fields` go with its answers. */
export async function startAgency(fields = {}) {
  const seen = [];
  const server = createServer((request, response) => {
    const head = [];
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      head.push([request.rawHeaders[at].toLowerCase(), request.rawHeaders[at + 1]]);
    }
    let body = '';
    request.on('data', (bytes) => { body += bytes; });
    request.on('end', () => {
      seen.push({ method: request.method, path: request.url, fields: head, body });
      response.writeHead(200, fields).end('the agency\n');
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const stop = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
  return { seen, port: server.address().port, stop };
}

const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** An access token of this level. */
export function token(level, subject = 'citizen-9') {
  const now = Math.floor(Date.now() / 1000);
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = {
    iss: 'https://sso.example.ir', aud: 'https://api.example.ir', sub: subject, acr: `urn:example:level:${level}`,
    iat: now, auth_time: now, exp: now + 600, jti: `${level}-${subject}`,
  };
  const input = `${encode({ alg: 'ES256', typ: 'at+jwt', kid: 'a' })}.${encode(claims)}`;
  const signature = sign('sha256', Buffer.from(input), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

/** Development CA, the gateway's certificate, and one for the agency's proxy. */
export function certificates(folder) {
  execFileSync(PROGRAM, ['certs', 'dev', '--out', folder, '--host', 'localhost', '--host', 'gateway.internal', '--host', HOST]);
  const [keyFile, certificate] = [join(folder, 'proxy.key'), join(folder, 'proxy.pem')];
  const made = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' });
  writeFileSync(keyFile, made, { mode: 0o600 });
  execFileSync('openssl', [
    'req', '-x509', '-new', '-key', keyFile, '-out', certificate, '-days', '2', '-subj', '/CN=proxy',
    '-addext', 'subjectAltName=DNS:proxy.tax.example.ir', '-addext', 'basicConstraints=critical,CA:FALSE',
    '-addext', 'extendedKeyUsage=clientAuth', '-CA', join(folder, 'ca.pem'), '-CAkey', join(folder, 'ca.key'),
  ], { stdio: 'pipe' });
  createPrivateKey(readFileSync(keyFile));
  writeFileSync(join(folder, 'both.pem'), readFileSync(certificate, 'utf8') + made, { mode: 0o600 });
  // What the portal shows to browsers.
  const [shown, shownKey] = ['gateway.pem', 'gateway.key'].map((name) => readFileSync(join(folder, name), 'utf8'));
  writeFileSync(join(folder, 'portal.pem'), shown + shownKey, { mode: 0o600 });
}

const CONFIG = `version: 1
listeners:
  - name: verdicts
    address: 127.0.0.1:0
    tls: { certificates: [{ cert: gateway.pem, key: gateway.key }], client_ca: ca.pem, client_auth: optional }
admin: { address: 127.0.0.1:0 }
issuers:
  sso:
    issuer: https://sso.example.ir
    audiences: [https://api.example.ir]
    jwks: { file: jwks.json }
    levels: { values: { "urn:example:level:1": 1, "urn:example:level:2": 2, "urn:example:level:3": 3 } }
agencies:
  tax: { verify: { from: [127.0.0.1], client: [proxy.tax.example.ir] } }
  land: { verify: { from: [127.0.0.1] } }
routes:
  - { name: open, agency: AGENCY, match: { hosts: [${HOST}], prefix: /open }, require: { level: 0 } }
  - { name: weak, agency: AGENCY, match: { hosts: [${HOST}], prefix: /l1 }, require: { level: 1 } }
  - { name: strong, agency: AGENCY, match: { hosts: [${HOST}], prefix: /l2, methods: [GET] }, require: { level: 2 } }
  - name: rated
    agency: AGENCY
    match: { hosts: [${HOST}], prefix: /rated }
    require: { level: 0 }
    limits: { rate: { requests: 1, per: 1h, by: address } }
`;

/** The gateway; `agency`: `tax`, whose proxies show a certificate, or `land`, whose do not. */
export async function startGateway(folder, agency) {
  certificates(folder);
  const jwk = { ...key.publicKey.export({ format: 'jwk' }), alg: 'ES256', kid: 'a', use: 'sig' };
  writeFileSync(join(folder, 'jwks.json'), JSON.stringify({ keys: [jwk] }));
  const config = join(folder, 'routes.yaml');
  writeFileSync(config, CONFIG.replaceAll('AGENCY', agency));
  const program = run(PROGRAM, ['run', '--config', config], {});
  const ready = await program.says(/ready listeners=verdicts=\S+:(\d+)/);
  return { port: Number(ready[1]), program };
}

/** Routes for people. The portal's port is the browser's, so that its proxy is trusted about addresses alone. */
const LOGIN_ROUTES = [1, 2, 3].map((level) => `\
  - { name: s${level}, agency: AGENCY, match: { hosts: [${HOST}], prefix: /s${level} }, require: { level: ${level}, via: session } }
`).join('');

/** The same gateway with routes for people. `issuer` is asked for the SSO's URL once certificates are there. */
export async function startLoginGateway(folder, agency, clientKey, issuer) {
  certificates(folder);
  writeFileSync(join(folder, 'client.key'), clientKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const client = 'client: { id: gateway, key: { file: client.key }, key_id: k-1 }';
  const config = join(folder, 'routes.yaml');
  const text = (CONFIG + LOGIN_ROUTES).replaceAll('AGENCY', agency)
    .replace('issuer: https://sso.example.ir', `issuer: ${await issuer()}\n    ca: ca.pem\n    ${client}`)
    .replace('jwks: { file: jwks.json }', '# keys by discovery')
    .replace('address: 127.0.0.1:0\n    tls', 'address: 127.0.0.1:0\n    trusted_proxies: [127.0.0.1]\n    tls');
  writeFileSync(config, text);
  const program = run(PROGRAM, ['run', '--config', config], {});
  const ready = await program.says(/ready listeners=verdicts=\S+:(\d+) admin=(\S+)/);
  const isReady = async () => (await fetch(`http://${ready[2]}/readyz`)).status === 200;
  for (const end = Date.now() + PATIENCE; !await isReady();) {
    if (Date.now() > end) throw new Error(`the issuer's keys do not come:\n${program.output}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
  }
  return { port: Number(ready[1]), program };
}

/** A program that is ended by its own id. */
export function run(command, parameters, environment) {
  const child = spawn(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } });
  const program = { output: '' };
  const waiting = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface(stream).on('line', (line) => {
      program.output += `${line}\n`;
      waiting.forEach((look) => look(line));
    });
  }
  const ended = new Promise((resolve) => {
    child.once('error', (error) => { program.output += `${error}\n`; resolve(error.code); });
    child.once('exit', (code, signal) => resolve(code ?? signal));
  });
  program.says = (pattern) => new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${command}: ${why}\n${program.output}`));
    waiting.push((line) => { const found = pattern.exec(line); if (found) resolve(found); });
    ended.then((code) => fail(`ended (${code})`));
    setTimeout(() => fail(`never said ${pattern}`), PATIENCE).unref();
  });
  /** Waits until something accepts at the port. */
  program.accepts = async (port) => {
    const end = Date.now() + PATIENCE;
    let over;
    ended.then((code) => { over = code; });
    while (over === undefined && Date.now() < end) {
      if (await accepts(port)) return;
      await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
    throw new Error(`${command} does not accept at ${port} (${over ?? 'still running'}):\n${program.output}`);
  };
  program.stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(late);
  };
  return program;
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
    socket.once('error', () => resolve(false));
  });
}

/** One request, byte for byte; `target` is not touched by any library. Fields: lines. */
export function send(port, target, fields = [], method = 'GET', content = '') {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let bytes = '';
    socket.setTimeout(PATIENCE, () => socket.destroy(new Error(`no answer to ${target}`)));
    socket.on('data', (data) => { bytes += data.toString('latin1'); });
    // A server that refuses a body unread may reset the connection behind its answer.
    socket.once('error', (error) => { if (!bytes.includes('\r\n\r\n')) reject(error); });
    socket.once('close', () => {
      const [head, ...body] = bytes.split('\r\n\r\n');
      const [start, ...lines] = head.split('\r\n');
      const status = Number(start.split(' ')[1]);
      const all = lines.map((line) => { const at = line.indexOf(':'); return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()]; });
      resolve({ status, fields: all, header: (name) => all.find(([n]) => n === name)?.[1], body: body.join('\r\n\r\n') });
    });
    const lines = [`${method} ${target} HTTP/1.1`, `Host: ${HOST}`, 'Connection: close', ...fields];
    socket.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n${content}`, 'latin1'));
  });
}

export const bearer = (text) => `Authorization: Bearer ${text}`;

/** The claims of a JWS, its signature left to the gateway's own tests. */
export const claims = (jws) => JSON.parse(Buffer.from(jws.split('.')[1], 'base64url'));
