// `darvazeh demo`, clicked through as its first lines invite to: two portals, three levels, one sign-in.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { certificates } from '../gateway.js';
import { overflowing, violations } from './judge.js';
import { Driver } from './webdriver.js';

const START_LIMIT = 60_000;

describe('the demo', { concurrency: false }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'darvazeh-demo-'));
  let [demo, health, driver, browser] = [];
  const land = () => health.replace('health', 'land');
  const at = (place) => browser.arrives((url) => url === place);
  /** At the demo's SSO: what would have been presented. */
  const choose = async (asked, level) => {
    await browser.arrives((url) => url.includes('/authorize?'));
    assert.equal(await browser.text('#asked'), `${asked}`);
    await browser.click(`button[value="${level}"]`);
  };

  /** Fit for a narrow screen and a screen reader, as what it shows off. */
  const isFit = async () => {
    assert.deepEqual(await violations(browser), []);
    await browser.resize(320, 700);
    assert.deepEqual(await overflowing(browser), []);
    await browser.resize(1000, 640);
  };

  before(async () => {
    demo = spawn(process.env.DARVAZEH_BIN, ['demo'], { stdio: ['ignore', 'pipe', 'inherit'] });
    health = await new Promise((resolve, reject) => {
      createInterface(demo.stdout).on('line', (line) => {
        const found = /^\s+(http:\/\/health\.localhost:\d+\/)$/.exec(line);
        if (found) resolve(found[1]);
      });
      demo.once('exit', (code) => reject(new Error(`the demo ended: ${code}`)));
      setTimeout(() => reject(new Error('the demo prints no page')), START_LIMIT).unref();
    });
    certificates(folder);
    driver = await Driver.start({ home: join(folder, 'home'), ca: join(folder, 'ca.pem') });
    browser = await driver.browser({ language: 'en', height: 700 });
  });

  after(async () => {
    await browser?.close();
    await driver?.stop();
    demo?.kill('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  });

  test('is clicked through', async () => {
    await browser.go(health);
    assert.equal(await browser.text('#subject'), 'nobody');
    await browser.click('#level-1');
    await choose(1, 1);
    await at(`${health}letters`);
    assert.equal(await browser.text('#level'), '1');
    await browser.arrives(async () => (await browser.text('#who')).includes('Maryam Citizen, level 1'));
    const here = await browser.text('#subject');
    await browser.click('#other');
    await at(`${land()}letters`);
    assert.equal(await browser.text('#level'), '1', 'nobody asked anew');
    assert.notEqual(await browser.text('#subject'), here, 'agencies cannot compare');
    await browser.click('#level-2');
    await choose(2, 2);
    await at(`${land()}records`);
    assert.equal(await browser.text('#level'), '2');
    await browser.click('main form button');
    await choose(3, 3);
    await browser.arrives((url) => url.includes('/.gateway/form'));
    await browser.click('main form button');
    await at(`${land()}account`);
    assert.match(await browser.text('h2'), /changed, once/);
    assert.equal(await browser.text('#level'), '3');
    await browser.arrives(async () => (await browser.text('#who')).includes('level 3'));
    await isFit();
    await browser.picture('demo');
    await browser.click('#who a');
    await browser.click('main button');
    await at(`${land()}.gateway/signed-out`);
    await browser.go(`${health}letters`);
    await browser.arrives((url) => url.includes('/authorize?'));
    await isFit();
    await browser.picture('demo-sso');
    await browser.click('[name=cancel]');
    await browser.refused('login_declined');
  });
});
