import { assertEquals, assertThrows } from "@std/assert";
import { decodeForRemoval, decodeOrThrow, object } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import type { JsonObject } from "../cni/types.ts";
import { mac, macFields, requestedMac } from "./mac.ts";

const decoder = object(macFields);

function requested(config: JsonObject, args = ""): string | undefined {
  return requestedMac({ conf: decodeOrThrow(decoder, config, "configuration"), args });
}

const [weakest, middle, strongest] = [1, 2, 3].map((last) => `02:00:00:00:00:0${last}`) as [
  string,
  string,
  string,
];
const inArgs = { args: { cni: { mac: middle } } };
const inRuntime = { runtimeConfig: { mac: strongest } };

Deno.test("requestedMac() prefers runtimeConfig to args.cni, and that to CNI_ARGS", () => {
  const env = `IgnoreUnknown=1;MAC=${weakest};K=V`;
  assertEquals(requested({}, env), weakest);
  assertEquals(requested(inArgs, env), middle);
  assertEquals(requested({ ...inArgs, ...inRuntime }, env), strongest);
  assertEquals(requested(inRuntime), strongest);
  assertEquals(requested({}), undefined);
});

Deno.test("requestedMac() passes over empty ones", () => {
  const empty = { args: { cni: { mac: "" } }, runtimeConfig: { mac: "" } };
  assertEquals(requested(empty, `MAC=${weakest}`), weakest);
  assertEquals(requested(empty, "MAC="), undefined);
  assertEquals(requested({ ...inArgs, runtimeConfig: { mac: "" } }), middle);
  assertEquals(requested({ args: { cni: null }, runtimeConfig: null }), undefined);
});

Deno.test("requestedMac() refuses a bad address of CNI_ARGS that would be used", () => {
  for (const text of ["x", "01:00:5e:00:00:01", "02:00:00:00:00"]) {
    const error = assertThrows(() => requested({}, `MAC=${text}`), CniError);
    assertEquals(error.toJson(), {
      code: codes.invalidEnvironment,
      msg: "Cannot use MAC of CNI_ARGS: expected unicast hardware address like " +
        `02:00:00:00:00:01 but received "${text}"`,
    });
    assertEquals(requested(inRuntime, `MAC=${text}`), strongest);
  }
});

Deno.test("requestedMac() refuses malformed CNI_ARGS in any case", () => {
  assertThrows(() => requested(inRuntime, "MAC"), CniError, 'invalid pair "MAC"');
  assertThrows(() => requested(inRuntime, "K=V"), CniError, "unknown args");
});

function read(text: unknown): string | undefined {
  return mac().decode(text, "", []);
}

Deno.test("mac() reads the notations of the reference", () => {
  for (
    const text of ["0a:00:5e:00:53:ff", "0A:00:5E:00:53:FF", "0a-00-5e-00-53-ff", "0a00.5e00.53ff"]
  ) {
    assertEquals(read(text), "0a:00:5e:00:53:ff");
  }
  assertEquals(read(""), "");
});

Deno.test("mac() refuses what no interface can have", () => {
  const bad = [
    "01:00:5e:00:00:01",
    "ff:ff:ff:ff:ff:ff",
    "00:00:00:00:00:00",
    "02:00:00:00:00",
    "02:00:00:00:00:00:00:01",
    "02:00-00:00:00:01",
    "2:0:0:0:0:1",
    "0g:00:00:00:00:01",
    " 02:00:00:00:00:01",
    "02:00:00:00:00:01\n",
    "020000000001",
    7,
    ["02:00:00:00:00:01"],
  ];
  for (const text of bad) assertEquals(read(text), undefined, JSON.stringify(text));
});

Deno.test("mac() takes other numbers of octets where the plugin does", () => {
  const long = mac({ octets: [6, 8, 20] });
  const infiniband = Array.from({ length: 20 }, () => "ff").join(":");
  const takes = ["02:00:00:00:00:01", "01:00:00:00:00:00:00:01", infiniband];
  for (const text of takes) assertEquals(long.decode(text, "", []), text);
  assertEquals(long.decode("0200.0000.0000.0001", "", []), "02:00:00:00:00:00:00:01");
  for (const text of ["01:00:5e:00:00:01", "02:00:00:00:00", "02:00:00:00:00:00:01"]) {
    assertEquals(long.decode(text, "", []), undefined, text);
  }
});

Deno.test("args is the strongest source where the plugin says so", () => {
  const config = {
    args: { cni: { mac: "02:00:00:00:00:01" } },
    runtimeConfig: { mac: "02:00:00:00:00:02" },
  };
  const conf = decodeOrThrow(decoder, config, "configuration");
  assertEquals(requestedMac({ conf, args: "" }), "02:00:00:00:00:02");
  assertEquals(requestedMac({ conf, args: "" }, { strongest: "args" }), "02:00:00:00:00:01");
  const withoutArgs = { ...conf, args: undefined };
  assertEquals(
    requestedMac({ conf: withoutArgs, args: "" }, { strongest: "args" }),
    "02:00:00:00:00:02",
  );
});

Deno.test("a removal goes on with a bad address", () => {
  const config = { args: { cni: { mac: "x" } }, runtimeConfig: { mac: 7 } };
  const conf = decodeForRemoval(decoder, config, "configuration");
  assertEquals(requestedMac({ conf, args: "" }), undefined);
});
