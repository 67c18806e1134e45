// What a login costs the gateway, in CPU time: its own two requests and the question to the SSO. The SSO is a double that signs
// what it is asked for and does nothing else, and the browsers are as plain; they have a core of their own. Not a test:
// `DARVAZEH_BIN=…/release/darvazeh node logins.js [LOGINS]`.

import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, createServer, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const HOST = 'portal.example';
const logins = Number(process.argv[2] ?? 5000);
/** At once. */
const BROWSERS = 32;
const TICKS = 100;
const folder = mkdtempSync(join(tmpdir(), 'darvazeh-logins-'));
const wrapper = join(folder, 'on-one-core');
const program = process.env.DARVAZEH_BIN ?? '../../target/release/darvazeh';
writeFileSync(wrapper, `#!/bin/sh\nexec taskset -c 0 "${program}" "$@"\n`);
chmodSync(wrapper, 0o700);
process.env.DARVAZEH_BIN = wrapper;
const { Gateway, certificates, startAgency } = await import('./gateway.js');

/** Endpoints of an SSO, and how it answers a login at once. */
async function startDouble(tls, par) {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const codes = new Map();
  const pushed = new Map();
  let issuer;
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = (claims) => {
    const text = `${encode({ alg: 'ES256', kid: 'k', typ: 'JWT' })}.${encode(claims)}`;
    const signature = sign('sha256', Buffer.from(text), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
    return `${text}.${signature.toString('base64url')}`;
  };
  const tokens = (form) => {
    const { nonce, sub } = codes.get(form.get('code'));
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: issuer, aud: 'gateway', sub, sid: randomUUID(), iat: now, exp: now + 300, auth_time: now, nonce, acr: 'l2', name: 'زهرا محمدی' };
    return { access_token: 'a', token_type: 'Bearer', expires_in: 300, id_token: signed(claims) };
  };
  const server = createServer(tls, (asked, answer) => {
    const chunks = [];
    asked.on('data', (chunk) => chunks.push(chunk)).once('end', () => {
      const send = (status, value) => answer.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
      const form = new URLSearchParams(Buffer.concat(chunks).toString());
      if (asked.url === '/token') return send(200, tokens(form));
      if (asked.url === '/par') {
        const uri = `urn:${randomUUID()}`;
        pushed.set(uri, form);
        return send(201, { request_uri: uri, expires_in: 60 });
      }
      if (asked.url === '/jwks') return send(200, { keys: [{ ...key.publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'ES256', use: 'sig' }] });
      return send(200, {
        issuer, authorization_endpoint: `${issuer}/authorize`, token_endpoint: `${issuer}/token`, jwks_uri: `${issuer}/jwks`,
        authorization_response_iss_parameter_supported: true,
        ...(par && { pushed_authorization_request_endpoint: `${issuer}/par` }),
      });
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  issuer = `https://localhost:${server.address().port}`;
  /** Where the browser goes back to. */
  const login = (address, sub) => {
    let asked = new URL(address).searchParams;
    if (asked.has('request_uri')) asked = pushed.get(asked.get('request_uri'));
    const code = randomUUID();
    codes.set(code, { nonce: asked.get('nonce'), sub });
    return `/.gateway/callback?${new URLSearchParams({ code, state: asked.get('state'), iss: issuer })}`;
  };
  return { issuer, login, stop: () => { server.close(); server.closeAllConnections(); } };
}

const config = (issuer, agency) => `\
version: 1
workers: 1
access_log: { to: "off" }
listeners:
  - { name: public, address: "127.0.0.1:0", tls: { certificates: [{ cert: gateway.pem, key: gateway.key }] } }
admin: { address: "127.0.0.1:0" }
state_dir: var
sessions: { logins: { requests: 1000000, per: 1s } }
issuers:
  sso: { issuer: "${issuer}", ca: ca.pem, audiences: [api], levels: { values: { l2: 2 } }, client: { id: gateway, key: { file: client.key } } }
agencies:
  registry: { endpoints: ["${agency}"], health: off }
routes:
  - { name: l2, agency: registry, match: { hosts: [${HOST}], prefix: /l2 }, require: { level: 2, via: session } }
`;

/** Seconds of CPU that a process has used. */
function used(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

async function measure(what, par) {
  const { ca, tls } = certificates(folder, [HOST]);
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(join(folder, 'client.key'), own.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const sso = await startDouble(tls, par);
  const agency = await startAgency();
  const gateway = await Gateway.start({ folder, ca, yaml: config(sso.issuer, agency.url) });
  await gateway.keysAreLoaded();
  const agent = new Agent({ keepAlive: true, maxSockets: BROWSERS, ca, servername: HOST });
  const host = `${HOST}:${gateway.port}`;
  const get = (path, cookie) => new Promise((resolve, reject) => {
    const headers = { host, accept: 'text/html', ...(cookie && { cookie }) };
    request({ host: '127.0.0.1', port: gateway.port, path, agent, headers }, (answer) => {
      answer.resume().once('end', () => resolve(answer));
    }).once('error', reject).end();
  });
  const cookies = (answer) => answer.headers['set-cookie'].map((line) => line.split(';')[0]).join('; ');
  const login = async (sub) => {
    const begun = await get('/.gateway/login?level=2&to=/l2');
    const back = await get(sso.login(begun.headers.location, sub), cookies(begun));
    if (back.headers.location !== '/l2') throw new Error(`${back.statusCode} ${back.headers['x-gateway-error']}\n${gateway.output}`);
    return back;
  };
  const many = async (count) => {
    let left = count;
    await Promise.all(Array.from({ length: BROWSERS }, async () => {
      while (left-- > 0) await login(`citizen-${left}`);
    }));
  };
  await many(logins / 10);
  const [cpu, began] = [used(gateway.child.pid), Date.now()];
  await many(logins);
  const [spent, took] = [used(gateway.child.pid) - cpu, (Date.now() - began) / 1000];
  const page = await get('/l2', cookies(await login('last')));
  if (page.statusCode !== 200) throw new Error(`the session is none: ${page.statusCode}`);
  const each = (1000 * spent) / logins;
  console.log(`${what}: ${each.toFixed(2)} ms of CPU a login, ${Math.round(1000 / each)} logins a second on one core;`
    + ` ${Math.round(logins / took)} a second came about, ${Math.round((100 * spent) / took)} % of the gateway's core`);
  agent.destroy();
  await gateway.stop();
  sso.stop();
  await agency.stop();
}

await measure('a login', false);
await measure('a login whose request is pushed', true);
rmSync(folder, { recursive: true, force: true });
