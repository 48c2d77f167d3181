import { isIP } from 'node:net';
import { LayerfsError } from '../../core/error.js';
import { isLoopback } from '../address.js';

/**
 * The proxy that the environment names for a URL: `https_proxy`, `http_proxy` and `no_proxy`, in either case.
 * This machine itself is never asked for through one.
 * @throws LayerfsError invalid-argument for one that is no URL; its text is not told, as it may hold a password
 */
export function proxyFor(url: URL, environment: NodeJS.ProcessEnv): URL | undefined {
  if (isLoopback(url.host)) return undefined;
  const get = (name: string): string => environment[name] ?? environment[name.toUpperCase()] ?? '';
  const variable = url.protocol === 'https:' ? 'https_proxy' : 'http_proxy';
  const text = get(variable);
  if (text === '' || isExempt(url, get('no_proxy'))) return undefined;
  const address = text.includes('://') ? text : `http://${text}`;
  const proxy = URL.canParse(address) ? new URL(address) : undefined;
  if (proxy === undefined || !['http:', 'https:'].includes(proxy.protocol)) {
    throw new LayerfsError('invalid-argument', `the environment's ${variable} is no URL of an http or https proxy`);
  }
  return proxy;
}

function isExempt({ hostname, port, protocol }: URL, list: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const ownPort = port === '' ? (protocol === 'https:' ? '443' : '80') : port;
  for (const entry of list.toLowerCase().split(/[\s,]+/)) {
    if (entry === '') continue;
    if (entry === '*') return true;
    const withPort = isIP(entry) === 6 ? null : /^(.*):(\d+)$/.exec(entry);
    if (withPort !== null && withPort[2] !== ownPort) continue;
    const name = (withPort?.[1] ?? entry).replace(/^\*?\./, '').replace(/^\[|\]$/g, '');
    if (host === name || host.endsWith(`.${name}`)) return true;
  }
  return false;
}

/** The Proxy-Authorization header for the user and password of a proxy's URL. */
export function proxyHeaders(proxy: URL): Record<string, string> {
  if (proxy.username === '' && proxy.password === '') return {};
  const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` };
}
