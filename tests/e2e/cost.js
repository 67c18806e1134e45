// What a request costs the gateway by a token and by a session, in instructions, counted by valgrind's callgrind: they do not
// depend on what else the machine does. The agency takes plain headers, since a signed assertion costs both alike. Not a
// test: `DARVAZEH_BIN=…/release/darvazeh node cost.js [REQUESTS]`.

import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const HOST = 'portal.example';
const requests = Number(process.argv[2] ?? 2000);
const folder = mkdtempSync(join(tmpdir(), 'darvazeh-cost-'));
const wrapper = join(folder, 'counted');
const program = process.env.DARVAZEH_BIN ?? '../../target/release/darvazeh';
writeFileSync(wrapper, `#!/bin/sh
[ "$1" = run ] || exec "${program}" "$@"
exec valgrind --tool=callgrind --callgrind-out-file=${folder}/counts.%p "${program}" "$@"
`);
chmodSync(wrapper, 0o700);
Object.assign(process.env, { DARVAZEH_BIN: wrapper, START_LIMIT: 120_000 });
const { Gateway, certificates, startAgency } = await import('./gateway.js');
const { AUDIENCE, LEVELS, signingKey, startSso } = await import('./sso.js');
const { Citizen } = await import('./citizen.js');
const { Person } = await import('./person.js');

const config = (issuer, agency, store) => `\
version: 1
workers: 1
access_log: { to: "off" }
listeners:
  - { name: public, address: "127.0.0.1:0", tls: { certificates: [{ cert: gateway.pem, key: gateway.key }] } }
admin: { address: "127.0.0.1:0" }
state_dir: var
sessions: { ${store} }
issuers:
  sso: { issuer: "${issuer}", ca: ca.pem, audiences: ["${AUDIENCE}"], levels: { values: ${JSON.stringify(LEVELS)} }, client: { id: gateway, key: { file: client.key } } }
agencies:
  registry: { endpoints: ["${agency}"], health: off, identity: headers }
routes:
  - { name: l2, agency: registry, match: { hosts: [${HOST}], prefix: /l2 }, require: { level: 2, via: either } }
`;

/** All instructions of a gateway that starts, logs somebody in, answers so many requests, and ends. */
async function counted(store, by, times) {
  const [tls, ca] = [{ cert: readFileSync(join(folder, 'gateway.pem')), key: readFileSync(join(folder, 'gateway.key')) }, readFileSync(join(folder, 'ca.pem'))];
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(join(folder, 'client.key'), own.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const key = signingKey('ES256');
  let sso = await startSso({ tls, key });
  const agency = await startAgency();
  const gateway = await Gateway.start({ folder, ca, yaml: config(sso.issuer, agency.url, store) });
  await gateway.keysAreLoaded();
  await sso.stop();
  const at = (path) => `https://${HOST}:${gateway.port}${path}`;
  const client = {
    client_id: 'gateway', redirect_uris: [at('/.gateway/callback')], token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256', id_token_signed_response_alg: 'ES256',
    jwks: { keys: [{ ...own.publicKey.export({ format: 'jwk' }), kid: 'k', use: 'sig', alg: 'ES256' }] },
  };
  sso = await startSso({ tls, key, port: sso.port, clients: [client] });
  const host = `${HOST}:${gateway.port}`;
  const citizen = new Citizen({ ca, proof: 'code' });
  await citizen.go(at('/l2/'));
  const person = new Person({ sso, ca });
  const { access_token: token } = await person.tokens({ proof: 'code', asked: { acr_values: 'urn:example:level:2' } });
  const fields = { session: { cookie: citizen.cookie(host) }, token: { authorization: `Bearer ${token}` } }[by];
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca, servername: HOST });
  const once = () => new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port: gateway.port, path: '/l2/x', agent, headers: { host, accept: '*/*', ...fields } }, (answer) => {
      answer.resume().once('end', () => (answer.statusCode === 200 ? resolve() : reject(new Error(`${answer.statusCode}`))));
    }).once('error', reject).end();
  });
  for (let at = 0; at < times; at += 1) await once();
  agent.destroy();
  await gateway.stop();
  await Promise.all([sso.stop(), agency.stop()]);
  const counts = readdirSync(folder).filter((name) => name.startsWith('counts.'));
  const total = Number(/^(?:summary|totals): (\d+)/m.exec(readFileSync(join(folder, counts[0]), 'utf8'))[1]);
  counts.forEach((name) => rmSync(join(folder, name)));
  return total;
}

certificates(folder, [HOST]);
writeFileSync(join(folder, 'session.key'), 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n', { mode: 0o600 });
const few = Math.ceil(requests / 10);
const costs = {};
for (const [what, store, by] of [
  ['a token', 'grace: 5s', 'token'], ['a session in memory', 'grace: 5s', 'session'],
  ['a session in a cookie', 'store: cookie, keys: [session.key]', 'session'],
]) {
  costs[what] = (await counted(store, by, requests) - await counted(store, by, few)) / (requests - few);
  console.log(`a request by ${what}: ${Math.round(costs[what])} instructions, ${(costs[what] / costs['a token']).toFixed(3)} of one by a token`);
}
rmSync(folder, { recursive: true, force: true });
