// One login for every portal, at a real SSO: the gateway is its client, proves itself by a key of its own, and pushes its
// requests. A citizen's browser is played by hand; what a real one makes of the pages is tried elsewhere.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Citizen } from './citizen.js';
import { Gateway, certificates, eventually, startAgency } from './gateway.js';
import { AUDIENCE, LEVELS, signingKey, startSso } from './sso.js';
import { call } from './wire.js';

const PORTALS = ['portal.tehran.example', 'tamin.example'];

describe('portals behind a real SSO', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'darvazeh-portal-'));
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  let [tls, ca, sso, agency, gateway] = [];
  const at = (host, path) => `https://${host}:${gateway.port}${path}`;
  const shown = (reply) => {
    assert.equal(reply.status, 200, reply.body);
    const assertion = JSON.parse(reply.body).headers['x-gateway-assertion'];
    return JSON.parse(Buffer.from(assertion.split('.')[1], 'base64url'));
  };

  before(async () => {
    ({ tls, ca } = certificates(folder, PORTALS));
    writeFileSync(join(folder, 'client.key'), own.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    const key = signingKey('ES256');
    sso = await startSso({ tls, key });
    agency = await startAgency();
    gateway = await Gateway.start({ folder, ca, yaml: yaml({ issuer: sso.issuer, agency: agency.url }) });
    await gateway.keysAreLoaded();
    // Now that the gateway's port is known, the SSO learns of its client.
    await sso.stop();
    const client = {
      client_id: 'gateway',
      redirect_uris: PORTALS.map((host) => at(host, '/.gateway/callback')),
      post_logout_redirect_uris: PORTALS.map((host) => at(host, '/.gateway/signed-out')),
      backchannel_logout_uri: at(PORTALS[0], '/.gateway/backchannel-logout'),
      backchannel_logout_session_required: true,
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [{ ...own.publicKey.export({ format: 'jwk' }), kid: 'k-1', use: 'sig', alg: 'ES256' }] },
      id_token_signed_response_alg: 'ES256',
    };
    const tell = async (url, { method, headers, body }) => {
      const reply = await call(url, { method, headers: Object.fromEntries(new Headers(headers)), body: String(body), ca });
      return new Response(reply.body || null, { status: reply.status, headers: { 'content-type': 'application/json' } });
    };
    sso = await startSso({ tls, key, port: sso.port, clients: [client], fetch: tell });
  });

  after(async () => {
    const code = await gateway?.stop();
    await Promise.all([sso?.stop(), agency?.stop()]);
    rmSync(folder, { recursive: true, force: true });
    assert.equal(code, 0, 'a clean drain');
  });

  test('one login opens both portals, and more is asked for only where more is needed', async () => { // RP-1, RP-5, RP-7
    const citizen = new Citizen({ ca, proof: 'code' });
    const first = await citizen.go(at(PORTALS[0], '/l2/history?year=1404'));
    assert.equal(first.url, at(PORTALS[0], '/l2/history?year=1404'));
    assert.equal(shown(first).level, 2);
    assert.equal(citizen.logins, 1);
    const second = await citizen.go(at(PORTALS[1], '/l1/'));
    assert.equal(shown(second).level, 2, 'what came back counts, not what was asked for');
    assert.equal(citizen.logins, 1, 'the second portal asks nobody');
    citizen.proof = 'card';
    const third = await citizen.go(at(PORTALS[0], '/l3/change'));
    assert.equal(shown(third).level, 3);
    assert.equal(citizen.logins, 2, 'the SSO asked for more');
    assert.ok(!gateway.output.includes('0012345679'), 'PV-4');
  });

  test('a logout at one portal ends the other through the SSO', async () => { // RP-9, BL-9, BL-12
    const citizen = new Citizen({ ca, proof: 'code' });
    await citizen.go(at(PORTALS[0], '/l2/'));
    await citizen.go(at(PORTALS[1], '/l1/'));
    const { csrf } = JSON.parse((await citizen.fetch(at(PORTALS[0], '/.gateway/session'))).body);
    const reply = await citizen.request('POST', new URL(at(PORTALS[0], '/.gateway/logout')), `csrf=${csrf}`);
    assert.equal(reply.status, 303);
    const last = await citizen.go(new URL(reply.headers.location, at(PORTALS[0], '/')));
    assert.equal(last.url, at(PORTALS[0], '/.gateway/signed-out'));
    assert.equal((await citizen.fetch(at(PORTALS[0], '/l1/'))).status, 401);
    await eventually('the other portal', async () => (await citizen.fetch(at(PORTALS[1], '/l1/'))).status === 401, 5000);
  });
});

const yaml = ({ issuer, agency }) => `\
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
    client: { id: gateway, key: { file: client.key }, key_id: k-1, par: required }
agencies:
  registry:
    title: { fa: سازمان ثبت, en: Registry }
    scope: national
    endpoints: ["${agency}"]
routes:
${[1, 2, 3].map((level) => `\
  - name: l${level}
    agency: registry
    match: { hosts: [${PORTALS.join(', ')}], prefix: /l${level} }
    require: { level: ${level}, via: session }`).join('\n')}
`;
