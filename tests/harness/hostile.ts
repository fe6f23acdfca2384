/**
 * Inputs that no well-behaved runtime sends: a good call with something wrong in
 * its environment, its JSON or its configuration. Each follows from a seed.
 *
 * @module
 */
import type { Json, JsonObject, Verb } from "../../cni/types.ts";
import { equal } from "@std/assert";
import type { Random } from "./random.ts";

/** A call as a process gets it. */
export interface HostileInput {
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** What is wrong with it. */
  readonly about: string;
}

/** A good call, to be spoilt. */
export interface GoodInput {
  readonly env: Readonly<Record<string, string>>;
  readonly config: JsonObject;
}

/** What a shell would do if it ever saw one of the texts. */
export const tripwire = "/run/denocni-tripwire";

const texts: readonly string[] = [
  "",
  " ",
  ".",
  "..",
  "...",
  "../../etc/passwd",
  "a/../../b",
  "/",
  "/dev/null",
  "/proc/self/ns/net",
  "/proc/self/ns/mnt",
  "-",
  "-rf",
  "--help",
  "-batch",
  "a\nb",
  "\n",
  "a\0b",
  "\0",
  "a b",
  "a\tb",
  `$(touch ${tripwire})`,
  `\`touch ${tripwire}\``,
  `;touch ${tripwire};`,
  `'; touch ${tripwire}; '`,
  `"; touch ${tripwire}; "`,
  "'",
  '"',
  "\\",
  "#",
  "%s%n",
  "é",
  "éééééééé",
  "😀",
  "\ud800",
  "\ufeff",
  "\u202e",
  "\u0085",
  "x".repeat(16),
  "x".repeat(300),
  "x".repeat(70_000),
  "all",
  "default",
  "lo",
  "dev",
  "eth0",
  "__proto__",
  "constructor",
  "toString",
  "true",
  "null",
  "0x10",
  "1e9",
  "-1",
  "::1",
  "0.0.0.0/0",
  "::/0",
  "10.0.0.0/33",
  "10.1.2.0/31",
  "999.1.1.1/24",
  "010.1.2.0/24",
  "10.1.2.5/24",
  "fe80::1%eth0",
  "::ffff:10.1.2.0/120",
  "02:00:00:00:00",
  "ff:ff:ff:ff:ff:ff",
  "0.1.0",
  "1.1.0\n",
  "99.0.0",
  "K=V",
  "IgnoreUnknown=1;K=V",
  "IgnoreUnknown=maybe",
  "MAC=02:00:00:00:00:01;;",
  "IP=10.1.2.300",
];

function deep(levels: number): Json {
  let value: Json = [];
  for (let level = 0; level < levels; level++) value = [value];
  return value;
}

const values: readonly Json[] = [
  null,
  true,
  false,
  0,
  -1,
  1,
  1.5,
  65_536,
  4095,
  2 ** 31,
  2 ** 53,
  1e308,
  [],
  [null],
  [[]],
  [{}],
  [1, "a"],
  {},
  { a: 1 },
  { type: "host-local" },
  { type: "../host-local" },
  { type: 7 },
  deep(50),
];

/** Keys that some plugin reads. */
const keys: readonly string[] = [
  "name",
  "cniVersion",
  "type",
  "bridge",
  "mtu",
  "vlan",
  "vlanTrunk",
  "isGateway",
  "ipMasq",
  "ipMasqBackend",
  "hairpinMode",
  "promiscMode",
  "macspoofchk",
  "ipam",
  "dns",
  "args",
  "runtimeConfig",
  "capabilities",
  "prevResult",
  "cni.dev/valid-attachments",
  "backend",
  "snat",
  "markMasqBit",
  "externalSetMarkChain",
  "conditionsV4",
  "conditionsV6",
  "device",
  "hwaddr",
  "kernelpath",
  "pciBusID",
  "multiQueue",
  "owner",
  "group",
  "selinuxContext",
  "__proto__",
  "",
];

const variables = [
  "CNI_COMMAND",
  "CNI_CONTAINERID",
  "CNI_NETNS",
  "CNI_IFNAME",
  "CNI_ARGS",
  "CNI_PATH",
  "CNI_NETNS_OVERRIDE",
] as const;

const junk: readonly string[] = [
  "",
  " ",
  "null",
  "1",
  '"text"',
  "[]",
  "{}",
  "{",
  "}",
  "{]",
  "nul",
  "NaN",
  "{'a':1}",
  '{"a":1,}',
  "\0",
  "\ufeff{}",
  "//\n{}",
  "[".repeat(100_000),
  `${"[".repeat(20_000)}${"]".repeat(20_000)}`,
];

/** Makes one hostile input out of a good environment and configuration; on request one that a process can get. */
export function hostileInput(
  random: Random,
  good: GoodInput,
  { ofProcess = false } = {},
): HostileInput {
  for (;;) {
    const { env, ...rest } = spoilt(random, good);
    const input = { ...rest, env: ofProcess ? possible(env) : env };
    if (!isGood(input, [good])) return input;
  }
}

/** The environment as a process can get it: no NUL, whole characters. */
function possible(env: HostileInput["env"]): Record<string, string> {
  const entries = Object.entries(env).map(([name, value]) => [
    name,
    value.replaceAll("\0", "").toWellFormed(),
  ]);
  return Object.fromEntries(entries);
}

/** Whether an input is what a runtime sends: one of these, with any verb that there is. */
export function isGood({ env, stdin }: HostileInput, goods: readonly GoodInput[]): boolean {
  const { CNI_COMMAND: verb, ...rest } = env;
  return verbs.includes(verb as Verb) && goods.some((good) => {
    const { CNI_COMMAND: _, ...own } = good.env;
    return stdin === JSON.stringify(good.config) && equal(rest, own);
  });
}

const verbs: readonly Verb[] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];

function spoilt(random: Random, good: GoodInput): HostileInput {
  const verb = random.pick(["ADD", "ADD", "ADD", "DEL", "CHECK", "GC", "STATUS"]);
  const env = { ...good.env, CNI_COMMAND: verb };
  const stdin = JSON.stringify(good.config);
  switch (random.integer(0, 5)) {
    case 0: {
      const { variable, value } = { variable: random.pick(variables), value: anyText(random) };
      return {
        env: { ...env, [variable]: value },
        stdin,
        about: `${variable}=${short(value)}`,
      };
    }
    case 1: {
      const text = brokenText(random, stdin);
      return { env, stdin: text, about: `${verb} stdin ${short(text)}` };
    }
    default: {
      const config = structuredClone(good.config);
      const about = spoil(random, config);
      return { env, stdin: JSON.stringify(config), about: `${verb} ${about}` };
    }
  }
}

function anyText(random: Random): string {
  if (!random.oneIn(4)) return random.pick(texts);
  const length = random.integer(1, 12);
  const points = Array.from({ length }, () => random.integer(0, random.oneIn(2) ? 0x7f : 0xffff));
  return String.fromCharCode(...points);
}

function anyValue(random: Random): Json {
  return random.oneIn(2) ? anyText(random) : structuredClone(random.pick(values));
}

function brokenText(random: Random, text: string): string {
  const at = random.integer(0, text.length - 1);
  switch (random.integer(0, 4)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text.slice(0, at) + anyText(random) + text.slice(at);
    case 2:
      return text.slice(0, at) + text.slice(at + 1);
    case 3:
      return text + random.pick([text, "x", ",", "{}", "\0"]);
    default:
      return random.pick(junk);
  }
}

/** Changes one place of a configuration; tells what. */
function spoil(random: Random, config: JsonObject): string {
  if (random.oneIn(3)) {
    const key = random.pick(keys);
    const value = anyValue(random);
    put(config, key, value);
    return `.${key} = ${short(JSON.stringify(value))}`;
  }
  const { holder, key, path } = random.pick(places(config, ""));
  if (random.oneIn(5)) {
    if (Array.isArray(holder)) holder.splice(Number(key), 1);
    else delete holder[key];
    return `${path} deleted`;
  }
  const value = anyValue(random);
  put(holder as JsonObject, key, value);
  return `${path} = ${short(JSON.stringify(value))}`;
}

/** Sets a key of its own, `__proto__` too. */
function put(holder: JsonObject, key: string, value: Json): void {
  Object.defineProperty(holder, key, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  });
}

interface Place {
  readonly holder: JsonObject | Json[];
  readonly key: string;
  readonly path: string;
}

/** Every place of a value that can be changed. */
function places(holder: JsonObject | Json[], path: string): Place[] {
  return Object.entries(holder).flatMap(([key, value]) => {
    const here = { holder, key, path: `${path}.${key}` };
    return typeof value === "object" && value !== null
      ? [here, ...places(value, here.path)]
      : [here];
  });
}

function short(text: string): string {
  const shown = JSON.stringify(text);
  return shown.length > 100 ? `${shown.slice(0, 100)}… (${text.length})` : shown;
}
