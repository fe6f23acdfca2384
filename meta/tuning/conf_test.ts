import { assertEquals, assertThrows } from "@std/assert";
import { decodeForRemoval, decodeOrThrow } from "../../cni/decode.ts";
import { CniError } from "../../cni/error.ts";
import type { JsonObject } from "../../cni/types.ts";
import { conf, requestedTuning } from "./conf.ts";

function wanted(config: JsonObject, args = "") {
  const decoded = decodeOrThrow(conf, config, "configuration");
  return requestedTuning({ conf: decoded, args, text: JSON.stringify(config) });
}

const mac = (last: number) => `c2:11:22:33:44:0${last}`;

Deno.test("nothing is asked for by default", () => {
  assertEquals(wanted({}), { attributes: {}, sysctl: {} });
  assertEquals(wanted({ mac: "", mtu: 0, promisc: false }), { attributes: {}, sysctl: {} });
  assertEquals(decodeOrThrow(conf, {}, "it").dataDir, "/run/cni/tuning");
});

Deno.test("false and 0 are values of allmulti and txQLen", () => {
  assertEquals(wanted({ allmulti: false, txQLen: 0 }).attributes, { allmulti: false, txQLen: 0 });
});

Deno.test("args.cni beats runtimeConfig, that CNI_ARGS, that the configuration", () => {
  const config = { mac: mac(1) };
  assertEquals(wanted(config).attributes.mac, mac(1));
  const args = `IgnoreUnknown=true;MAC=${mac(2)}`;
  assertEquals(wanted(config, args).attributes.mac, mac(2));
  const withCapability = { ...config, RuntimeConfig: { mac: mac(3) } };
  assertEquals(wanted(withCapability, args).attributes.mac, mac(3));
  const withArgs = { ...withCapability, args: { cni: { mac: mac(4) } } };
  assertEquals(wanted(withArgs, args).attributes.mac, mac(4));
});

Deno.test("args.cni overrides each key, and adds variables", () => {
  const own = {
    promisc: true,
    mtu: 1400,
    allmulti: true,
    txQLen: 5,
    sysctl: { "net.a": "1", "net.b": "1" },
  };
  const cni = {
    promisc: false,
    mtu: 1300,
    allmulti: false,
    txQLen: 0,
    sysctl: { "net.b": "2", "net.c": "3" },
  };
  assertEquals(wanted({ ...own, args: { cni } }), {
    attributes: { mtu: 1300, allmulti: false, txQLen: 0 },
    sysctl: { "net.a": "1", "net.b": "2", "net.c": "3" },
  });
  assertEquals(wanted({ args: { cni: { sysctl: { "net.c": "3" } } } }).sysctl, { "net.c": "3" });
});

Deno.test("a hardware address may be written in any way, and have 8 or 20 octets", () => {
  assertEquals(wanted({ mac: "C2-11-22-33-44-55" }).attributes.mac, "c2:11:22:33:44:55");
  assertEquals(wanted({ mac: "c211.2233.4455" }).attributes.mac, "c2:11:22:33:44:55");
  assertEquals(
    wanted({}, "MAC=01-02-03-04-05-06-07-08").attributes.mac,
    "01:02:03:04:05:06:07:08",
  );
});

Deno.test("what is wrong is refused with its path", () => {
  const bad: [JsonObject, string][] = [
    [{ sysctl: { "net.a": 1 } }, 'sysctl["net.a"]: expected string'],
    [{ sysctl: ["net.a"] }, "sysctl: expected object"],
    [{ sysctl: { "net.a": "1\n2" } }, 'sysctl["net.a"]: expected string'],
    [{ mac: "c2:11" }, "mac: expected"],
    [{ mac: "ff:ff:ff:ff:ff:ff" }, "mac: expected"],
    [{ mtu: -1 }, "mtu: expected integer"],
    [{ mtu: 1400.5 }, "mtu: expected integer"],
    [{ promisc: "true" }, "promisc: expected boolean"],
    [{ txQLen: "1" }, "txQLen: expected integer"],
    [{ dataDir: "run/cni" }, "dataDir: expected absolute path"],
    [{ args: { cni: { allmulti: 1 } } }, "args.cni.allmulti: expected boolean"],
  ];
  for (const [config, message] of bad) assertThrows(() => wanted(config), CniError, message);
  assertThrows(() => wanted({}, "MAC=x"), CniError, "Cannot use MAC of CNI_ARGS");
  assertThrows(() => wanted({}, "K=V"), CniError, "unknown args");
});

Deno.test("a variable that stands twice in the text is refused", () => {
  const text = '{"sysctl": {"net.a": "1", "net.a": "2"}}';
  const decoded = decodeOrThrow(conf, JSON.parse(text), "configuration");
  assertThrows(
    () => requestedTuning({ conf: decoded, args: "", text }),
    CniError,
    'duplicated sysctl keys are not allowed: "net.a"',
  );
  assertEquals(requestedTuning({ conf: decoded, args: "", text: undefined }).sysctl, {
    "net.a": "2",
  });
});

Deno.test("a removal goes on with whatever it is given", () => {
  const config = { sysctl: 1, mac: "x", mtu: "1", dataDir: "here", args: { cni: 1 } };
  const decoded = decodeForRemoval(conf, config, "configuration");
  assertEquals(decoded.dataDir, "/run/cni/tuning");
  assertEquals(decodeForRemoval(conf, { dataDir: "/tmp/x", mac: 1 }, "it").dataDir, "/tmp/x");
});

Deno.test("a variable of a strange name is one like any other", () => {
  const config = JSON.parse('{"sysctl": {"__proto__": "1", "constructor": "2"}}');
  assertEquals(Object.keys(wanted(config).sysctl), ["__proto__", "constructor"]);
});
