// Portals behind one gateway that is the SSO's client: it proves itself by a key of its own, and pushes its requests (RFC 9126).

import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Gateway, certificates } from './gateway.js';
import { AUDIENCE, LEVELS, signingKey, startSso } from './sso.js';
import { call } from './wire.js';

/** `routes`: YAML with the agencies and routes of `hosts`. Everything is written into `folder`. */
export async function startPortals({ folder, hosts, routes }) {
  const { tls, ca } = certificates(folder, hosts);
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(join(folder, 'client.key'), own.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const key = signingKey('ES256');
  const before = await startSso({ tls, key });
  const gateway = await Gateway.start({ folder, ca, yaml: head(before.issuer) + routes });
  await gateway.keysAreLoaded();
  // Now that the gateway's port is known, the SSO learns of its client.
  await before.stop();
  const at = (host, path) => `https://${host}:${gateway.port}${path}`;
  const client = {
    client_id: 'gateway',
    redirect_uris: hosts.map((host) => at(host, '/.gateway/callback')),
    post_logout_redirect_uris: hosts.map((host) => at(host, '/.gateway/signed-out')),
    backchannel_logout_uri: at(hosts[0], '/.gateway/backchannel-logout'),
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
  const sso = await startSso({ tls, key, port: before.port, clients: [client], fetch: tell });
  return {
    ca,
    sso,
    gateway,
    at,
    /** Returns the gateway's exit code. */
    async stop() {
      const code = await gateway.stop();
      await sso.stop();
      return code;
    },
  };
}

const head = (issuer) => `\
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
`;
