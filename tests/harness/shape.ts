/**
 * What a result may look like in each protocol version, written down from the
 * specification and independent of the project's own converters.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Json, JsonObject } from "../../cni/types.ts";

type Check = (value: Json, path: string) => void;

interface Key {
  readonly check: Check;
  readonly always?: boolean;
}

const ipv4 = /^\d{1,3}(\.\d{1,3}){3}$/;
const ipv6 = /^[0-9a-f:]*:[0-9a-f:.]*$/;

function matches(pattern: (text: string) => boolean, what: string): Check {
  return (value, path) =>
    assert(
      typeof value === "string" && pattern(value),
      `${path} is no ${what}: ${JSON.stringify(value)}`,
    );
}

const isIp = (text: string) => ipv4.test(text) || ipv6.test(text);

const cidr = matches((text) => {
  const [ip = "", prefix = "", ...rest] = text.split("/");
  return isIp(ip) && /^\d{1,3}$/.test(prefix) && rest.length === 0;
}, "prefix");
const address = matches(isIp, "address");
const text = matches(() => true, "string");
const filled = matches((value) => value !== "", "string with content");
const mac = matches((value) => /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(value), "hardware address");
const family = matches((value) => value === "4" || value === "6", "family");

const integer: Check = (value, path) =>
  assert(Number.isInteger(value), `${path} is no integer: ${JSON.stringify(value)}`);

function listOf(check: Check): Check {
  return (value, path) => {
    assert(Array.isArray(value), `${path} is no list: ${JSON.stringify(value)}`);
    value.forEach((element, index) => check(element, `${path}[${index}]`));
  };
}

function filledList(check: Check): Check {
  return (value, path) => {
    listOf(check)(value, path);
    assert((value as Json[]).length > 0, `${path} is an empty list`);
  };
}

function object(keys: Readonly<Record<string, Key>>): Check {
  return (value, path) => {
    assert(
      typeof value === "object" && value !== null && !Array.isArray(value),
      `${path} is no object: ${JSON.stringify(value)}`,
    );
    const unknown = Object.keys(value).filter((key) => !(key in keys));
    assertEquals(unknown, [], `keys of ${path} that its version does not have`);
    for (const [key, { check, always }] of Object.entries(keys)) {
      const inner = value[key];
      if (inner !== undefined) check(inner, `${path}.${key}`);
      else assert(!always, `${path}.${key} is absent`);
    }
  };
}

const dns = object({
  nameservers: { check: filledList(address) },
  domain: { check: filled },
  search: { check: filledList(filled) },
  options: { check: filledList(filled) },
});

const oldRoute = object({ dst: { check: cidr, always: true }, gw: { check: address } });
const newRoute = object({
  dst: { check: cidr, always: true },
  gw: { check: address },
  mtu: { check: integer },
  advmss: { check: integer },
  priority: { check: integer },
  table: { check: integer },
  scope: { check: integer },
});

const slot = object({
  ip: { check: cidr, always: true },
  gateway: { check: address },
  routes: { check: filledList(oldRoute) },
});

const version: Key = { check: filled, always: true };

const oldest = object({
  cniVersion: version,
  ip4: { check: slot },
  ip6: { check: slot },
  dns: { check: dns, always: true },
});

const middle = object({
  cniVersion: version,
  interfaces: {
    check: filledList(object({
      name: { check: text, always: true },
      mac: { check: mac },
      sandbox: { check: filled },
    })),
  },
  ips: {
    check: filledList(object({
      version: { check: family, always: true },
      interface: { check: integer },
      address: { check: cidr, always: true },
      gateway: { check: address },
    })),
  },
  // The reference keeps the newer route keys in these versions too.
  routes: { check: filledList(newRoute) },
  dns: { check: dns, always: true },
});

const newest = object({
  cniVersion: version,
  interfaces: {
    check: filledList(object({
      name: { check: text, always: true },
      mac: { check: mac },
      mtu: { check: integer },
      sandbox: { check: filled },
      socketPath: { check: filled },
      pciID: { check: filled },
    })),
  },
  ips: {
    check: filledList(object({
      interface: { check: integer },
      address: { check: cidr, always: true },
      gateway: { check: address },
    })),
  },
  routes: { check: filledList(newRoute) },
  dns: { check: dns },
});

/** Fails unless a result has the shape of its version and says so. */
export function assertShape(result: JsonObject, cniVersion: string): void {
  assertEquals(result["cniVersion"], cniVersion);
  const shape = cniVersion < "0.3.0" ? oldest : cniVersion < "1.0.0" ? middle : newest;
  shape(result, "result");
  if (cniVersion >= "1.0.0") {
    assert(JSON.stringify(result["dns"] ?? 1) !== "{}", "result.dns is empty");
  }
  for (const ip of (result["ips"] ?? []) as JsonObject[]) {
    const count = ((result["interfaces"] ?? []) as Json[]).length;
    const index = (ip["interface"] ?? 0) as number;
    assert(ip["interface"] === undefined || index < count, `no interface ${index}`);
  }
}
