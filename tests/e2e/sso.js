// A real SSO: oidc-provider over HTTPS on loopback, with an interaction page where a person logs in by password (level 1),
// one-time code (level 2) or national card (level 3). Access tokens are JWTs (RFC 9068) for the API, with `acr` and `auth_time`.

import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:https';
import { text } from 'node:stream/consumers';
import Provider, { interactionPolicy } from 'oidc-provider';

export const AUDIENCE = 'https://api.example.ir';
export const CLIENT = { id: 'portal', redirect: 'https://portal.example.ir/callback' };
export const LEVELS = { 'urn:example:level:1': 1, 'urn:example:level:2': 2, 'urn:example:level:3': 3 };
const PROOFS = { password: 'urn:example:level:1', code: 'urn:example:level:2', card: 'urn:example:level:3' };
const AMR = { password: ['pwd'], code: ['pwd', 'otp'], card: ['sc', 'pin'] };
const SCOPES = 'openid insurance.read';

/** Sets the SSO's clock ahead by so many seconds, or back. It is this process's clock, as far as `Date.now` is read. */
export function setClock(seconds) {
  Date.now = () => CLOCK() + seconds * 1000;
}

const CLOCK = Date.now;

/** A signing key as JWK with a key id of its own. */
export function signingKey(alg) {
  const { privateKey } = alg === 'ES256'
    ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg };
}

/**
 * Starts the SSO. `port` 0 lets the system choose; the same port again is the same issuer with other keys. `clients` are
 * registered besides the portal, and told of logouts by `fetch`.
 */
export async function startSso({ tls, key, port = 0, clients = [], fetch }) {
  let respond;
  const server = createServer(tls, (request, response) => respond(request, response));
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  const issuer = `https://localhost:${server.address().port}`;
  const provider = new Provider(issuer, configuration(key, clients, fetch));
  const metadata = provider.callback();
  respond = (request, response) => {
    if (!request.url.startsWith('/interaction/')) return metadata(request, response);
    if (request.method === 'GET') sso.asked += 1;
    return interaction(provider, request, response).catch((error) => response.writeHead(500).end(String(error)));
  };
  const sso = {
    issuer,
    port: server.address().port,
    /** How often somebody was shown the login form. */
    asked: 0,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return sso;
}

function configuration(key, clients, fetch) {
  return {
    jwks: { keys: [key] },
    acrValues: Object.keys(LEVELS),
    scopes: SCOPES.split(' '),
    claims: { openid: ['sub', 'acr', 'auth_time'] },
    clientAuthMethods: ['none', 'client_secret_basic', 'private_key_jwt'],
    ...(fetch && { fetch }),
    clients: [{
      client_id: CLIENT.id,
      redirect_uris: [CLIENT.redirect],
      token_endpoint_auth_method: 'none',
      id_token_signed_response_alg: key.alg,
    }, ...clients],
    cookies: { keys: [randomUUID()] },
    ttl: { AccessToken: 300, IdToken: 300, Session: 3600, Interaction: 300, Grant: 3600 },
    interactions: { policy: policy(), url: (_context, { uid }) => `/interaction/${uid}` },
    findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    loadExistingGrant: granted,
    extraTokenClaims: ({ oidc }) => {
      const source = oidc.entities.AuthorizationCode;
      return { acr: source.acr, auth_time: source.authTime };
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          audience: AUDIENCE,
          scope: SCOPES,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: key.alg } },
        }),
      },
    },
  };
}

/**
 * Asks to log in anew when the session is weaker than every requested `acr` value, once: `acr_values` is a wish (OpenID
 * Connect Core, 3.1.2.1), and who cannot fulfil it goes back with what they have.
 */
function policy() {
  const base = interactionPolicy.base();
  const { Check } = interactionPolicy;
  base.get('login').checks.add(new Check('acr_too_low', 'a stronger login is required', ({ oidc }) => {
    const asked = oidc.params.acr_values?.split(' ').map((value) => LEVELS[value] ?? 0) ?? [];
    const has = LEVELS[oidc.session.acr] ?? 0;
    if (oidc.result?.login) return Check.NO_NEED_TO_PROMPT;
    return asked.length > 0 && has < Math.min(...asked) ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT;
  }));
  return base;
}

/** Everybody agrees to everything: consent is not what is tested here. */
async function granted({ oidc }) {
  const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope(SCOPES);
  grant.addResourceScope(AUDIENCE, SCOPES);
  await grant.save();
  return grant;
}

/**
 * GET shows the login form, POST takes it. The level is that of the strongest proof that is presented: a password, a code or
 * the PIN of a card; `proof` names it outright, and `ago` is the age in seconds of an earlier login. `cancel` declines.
 */
async function interaction(provider, request, response) {
  const { prompt, params } = await provider.interactionDetails(request, response);
  if (request.method === 'GET') {
    response.setHeader('Content-Type', 'text/html; charset=utf-8');
    response.end(loginPage(prompt.name, params.acr_values ?? ''));
    return;
  }
  const form = new URLSearchParams(await text(request));
  if (form.has('cancel')) {
    await provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'declined' });
    return;
  }
  const proof = form.get('proof') ?? ['card', 'code', 'password'].find((name) => form.get(name));
  await provider.interactionFinished(request, response, {
    login: {
      accountId: form.get('user'),
      acr: PROOFS[proof],
      amr: AMR[proof],
      ts: Math.floor(Date.now() / 1000) - Number(form.get('ago') ?? 0),
    },
  });
}

const loginPage = (prompt, asked) => `<!DOCTYPE html>
<html lang="en"><head><title>National SSO</title></head><body>
<h1>${prompt}</h1><p id="asked">acr: ${asked}</p>
<form method="post">
<p><label>National number <input name="user" autofocus></label></p>
<p><label>Password <input name="password" type="password"></label></p>
<p><label>Code sent to the phone <input name="code" inputmode="numeric" autocomplete="one-time-code"></label></p>
<p><label>PIN of the national card <input name="card" type="password"></label></p>
<p><button id="sign-in">Sign in</button> <button name="cancel" value="yes">Cancel</button></p>
</form></body></html>
`;
