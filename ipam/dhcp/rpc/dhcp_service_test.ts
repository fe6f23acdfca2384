/**
 * How the recorded bytes came about. The plugin's and the daemon's: Debian's package
 * containernetworking-plugins 1.1.1 (its library `cni` is 1.0.1), `/usr/lib/cni/dhcp daemon
 * -socketpath SOCKET` and `/usr/lib/cni/dhcp` with the environment and configuration of
 * {@linkcode args}, over a socket that passes everything on and keeps it. Go's: `encoding/gob` of Go
 * 1.19.8 over structs of the same names and fields as the reference's.
 *
 * @module
 */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { Result } from "../../../cni/types.ts";
import type { CmdArgs } from "./cni_gob.ts";
import type { DhcpService } from "./dhcp_service.ts";
import type { GobType, GobValue, StructType } from "./gob_types.ts";
import type { ByteStream } from "./net_rpc.ts";
import { emptyResult } from "../../../cni/types.ts";
import { argsType, readArgs, readResult, resultType, writeArgs, writeResult } from "./cni_gob.ts";
import { callAllocate, callRelease, dhcpMethods } from "./dhcp_service.ts";
import { GobDecoder, readUint, uintSize } from "./gob_decoder.ts";
import { GobEncoder } from "./gob_encoder.ts";
import { GobError } from "./gob_types.ts";
import { callRpc, RemoteError, serveRpc } from "./net_rpc.ts";

/** `CONNECT /_goRPC_ HTTP/1.0` and an empty line. */
const connect = "434f4e4e454354202f5f676f5250435f20485454502f312e300a0a";
/** `HTTP/1.0 200 Connected to Go RPC` and an empty line. */
const connected = "485454502f312e302032303020436f6e6e656374656420746f20476f205250430a0a";
/** Definition of the header of a request. */
const requestType =
  "2fff81030101075265717565737401ff82000102010d536572766963654d6574686f64010c000103536571010600" +
  "0000";
/** Definition of the header of a response. */
const responseType =
  "3aff8103010108526573706f6e736501ff82000103010d536572766963654d6574686f64010c0001035365710106" +
  "0001054572726f72010c000000";
/** `struct{}` and its only value. */
const noReply = "0aff83030102ff8400000003ff8400";

/** What the plugin was called with. */
const args: CmdArgs = {
  containerID: "c0",
  netns: "/run/netns/none",
  ifname: "eth0",
  args: "K=v",
  path: "/opt/cni/bin",
  netnsOverride: "",
  stdin: new TextEncoder().encode(JSON.stringify({
    cniVersion: "1.0.0",
    name: "n",
    type: "bridge",
    ipam: { type: "dhcp", daemonSocketPath: "/tmp/dhcp.sock" },
  })),
};

/** The arguments as the plugin sent them, without `NetnsOverride`. */
const argsOfPlugin =
  "5aff8303010107436d644172677301ff84000106010b436f6e7461696e65724944010c0001054e65746e73010c00" +
  "010649664e616d65010c00010441726773010c00010450617468010c000109537464696e44617461010a000000" +
  "ff9fff8401026330010f2f72756e2f6e65746e732f6e6f6e6501046574683001034b3d76010c2f6f70742f636e69" +
  "2f62696e016c7b22636e6956657273696f6e223a22312e302e30222c226e616d65223a226e222c2274797065223a" +
  "22627269646765222c226970616d223a7b2274797065223a2264686370222c226461656d6f6e536f636b65745061" +
  "7468223a222f746d702f646863702e736f636b227d7d00";

/** The arguments as we sent them to the daemon, without `CNI_ARGS`. */
const argsOfOurs =
  "6cff8303010107436d644172677301ff84000107010b436f6e7461696e65724944010c0001054e65746e73010c00" +
  "010649664e616d65010c00010441726773010c00010450617468010c00010d4e65746e734f76657272696465010c" +
  "000109537464696e44617461010a000000" +
  "ff9aff8401026330010f2f72756e2f6e65746e732f6e6f6e65010465746830020c2f6f70742f636e692f62696e02" +
  "6c7b22636e6956657273696f6e223a22312e302e30222c226e616d65223a226e222c2274797065223a2262726964" +
  "6765222c226970616d223a7b2274797065223a2264686370222c226461656d6f6e536f636b657450617468223a22" +
  "2f746d702f646863702e736f636b227d7d00";

/** Headers of the plugin's requests. */
const requests = {
  release: "11ff82010c444843502e52656c6561736500",
  allocate: "12ff82010d444843502e416c6c6f6361746500",
};

/** Headers of the daemon's responses. */
const responses = {
  released: "11ff82010c444843502e52656c6561736500",
  allocated: "12ff82010d444843502e416c6c6f6361746500",
  failed:
    "51ff82010d444843502e416c6c6f63617465023d6661696c656420746f2053746174667320222f72756e2f6e65" +
    "746e732f6e6f6e65223a206e6f20737563682066696c65206f72206469726563746f727900",
};
const failure = 'failed to Statfs "/run/netns/none": no such file or directory';

/** A result with everything that a result can have, from Go: the definitions of its types. */
const definitions =
  "51ff8103010106526573756c7401ff82000105010a434e4956657273696f6e010c00010a496e7465726661636573" +
  "01ff8600010349507301ff8c000106526f7574657301ff90000103444e5301ff9200000024ff85020101155b5d2a" +
  "74797065733130302e496e7465726661636501ff860001ff8400004aff83030102ff8400010601044e616d65010c" +
  "0001034d6163010c0001034d7475010400010753616e64626f78010c00010a536f636b657450617468010c000105" +
  "5063694944010c00000023ff8b020101145b5d2a74797065733130302e4950436f6e66696701ff8c0001ff880000" +
  "33ff87030102ff880001030109496e7465726661636501040001074164647265737301ff8a000107476174657761" +
  "79010a00000023ff890301010549504e657401ff8a00010201024950010a0001044d61736b010a0000001dff8f02" +
  "01010e5b5d2a74797065732e526f75746501ff900001ff8e000050ff8d030102ff8e000107010344737401ff8a00" +
  "01024757010a0001034d545501040001064164764d535301040001085072696f7269747901040001055461626c65" +
  "010400010553636f7065010400000046ff9103010103444e5301ff92000104010b4e616d657365727665727301ff" +
  "94000106446f6d61696e010c00010653656172636801ff940001074f7074696f6e7301ff9400000016ff93020101" +
  "085b5d737472696e6701ff9400010c0000";

/** The result with IPv4 addresses in 16 bytes, as Go parses them. */
const wideValue =
  "fe012cff820201010465746830011130323a30303a30303a30303a30303a303101fe0bb8010d2f72756e2f6e6574" +
  "6e732f633001022f73010c303030303a30303a30312e30000102010201011000000000000000000000ffffc0a801" +
  "050104ffffff0000011000000000000000000000ffffc0a801010002011020010db8000000000000000000000005" +
  "0110ffffffffffffffff000000000000000000011020010db8000000000000000000000001000102010104000000" +
  "00010400000000000104c0a8010101fe0af001fe0aa001ffc801fe01fc01fe01fa000101040a0000000104ff0000" +
  "0000010400000000000101020b3139322e3136382e312e310b323030313a6462383a3a31010b6578616d706c652e" +
  "6e6574010109612e6578616d706c650101076e646f74733a320000";

/** The result with IPv4 addresses in 4 bytes. */
const narrowValue =
  "fe0114ff820201010465746830011130323a30303a30303a30303a30303a303101fe0bb8010d2f72756e2f6e6574" +
  "6e732f633001022f73010c303030303a30303a30312e300001020102010104c0a801050104ffffff00000104c0a8" +
  "01010002011020010db80000000000000000000000050110ffffffffffffffff000000000000000000011020010d" +
  "b800000000000000000000000100010201010400000000010400000000000104c0a8010101fe0af001fe0aa001ff" +
  "c801fe01fc01fe01fa000101040a0000000104ff00000000010400000000000101020b3139322e3136382e312e31" +
  "0b323030313a6462383a3a31010b6578616d706c652e6e6574010109612e6578616d706c650101076e646f74733a" +
  "320000";

const everything: Result = {
  interfaces: [{
    name: "eth0",
    mac: "02:00:00:00:00:01",
    mtu: 1500,
    sandbox: "/run/netns/c0",
    socketPath: "/s",
    pciID: "0000:00:01.0",
  }],
  ips: [
    { interface: 1, address: "192.168.1.5/24", gateway: "192.168.1.1" },
    { address: "2001:db8::5/64", gateway: "2001:db8::1" },
  ],
  routes: [
    {
      dst: "0.0.0.0/0",
      gw: "192.168.1.1",
      mtu: 1400,
      advmss: 1360,
      priority: 100,
      table: 254,
      scope: 253,
    },
    { dst: "10.0.0.0/8", gw: "0.0.0.0" },
  ],
  dns: {
    nameservers: ["192.168.1.1", "2001:db8::1"],
    domain: "example.net",
    search: ["a.example"],
    options: ["ndots:2"],
  },
};

/** A lease from Go, in the types of `cni` 1.0.1. */
const olderLease =
  "51ff8103010106526573756c7401ff82000105010a434e4956657273696f6e010c00010a496e7465726661636573" +
  "01ff8600010349507301ff8c000106526f7574657301ff90000103444e5301ff9200000024ff85020101155b5d2a" +
  "74797065733130302e496e7465726661636501ff860001ff84000029ff83030102ff8400010301044e616d65010c" +
  "0001034d6163010c00010753616e64626f78010c00000023ff8b020101145b5d2a74797065733130302e4950436f" +
  "6e66696701ff8c0001ff88000033ff87030102ff880001030109496e746572666163650104000107416464726573" +
  "7301ff8a00010747617465776179010a00000023ff890301010549504e657401ff8a00010201024950010a000104" +
  "4d61736b010a0000001dff8f0201010e5b5d2a74797065732e526f75746501ff900001ff8e00001cff8d030102ff" +
  "8e000102010344737401ff8a0001024757010a00000046ff9103010103444e5301ff92000104010b4e616d657365" +
  "727665727301ff94000106446f6d61696e010c00010653656172636801ff940001074f7074696f6e7301ff940000" +
  "0016ff93020101085b5d737472696e6701ff9400010c00003fff820301020104c0a801050104ffffff00000104c0" +
  "a8010100010101011000000000000000000000ffff00000000010400000000000104c0a8010100010000";

const lease: Result = {
  ...emptyResult(),
  ips: [{ address: "192.168.1.5/24", gateway: "192.168.1.1" }],
  routes: [{ dst: "0.0.0.0/0", gw: "192.168.1.1" }],
};

/** What we answered to an ADD of the plugin, which printed it but for what it does not know. */
const printedReply =
  "51ff8303010106526573756c7401ff84000105010a434e4956657273696f6e010c00010a496e7465726661636573" +
  "01ff8800010349507301ff8e000106526f7574657301ff92000103444e5301ff9400000024ff87020101155b5d2a" +
  "74797065733130302e496e7465726661636501ff880001ff8600004aff85030102ff8600010601044e616d65010c" +
  "0001034d6163010c0001034d7475010400010753616e64626f78010c00010a536f636b657450617468010c000105" +
  "5063694944010c00000023ff8d020101145b5d2a74797065733130302e4950436f6e66696701ff8e0001ff8a0000" +
  "33ff89030102ff8a0001030109496e7465726661636501040001074164647265737301ff8c000107476174657761" +
  "79010a00000023ff8b0301010549504e657401ff8c00010201024950010a0001044d61736b010a0000001dff9102" +
  "01010e5b5d2a74797065732e526f75746501ff920001ff90000050ff8f030102ff90000107010344737401ff8c00" +
  "01024757010a0001034d545501040001064164764d535301040001085072696f7269747901040001055461626c65" +
  "010400010553636f7065010400000046ff9303010103444e5301ff94000104010b4e616d657365727665727301ff" +
  "96000106446f6d61696e010c00010653656172636801ff960001074f7074696f6e7301ff9600000016ff95020101" +
  "085b5d737472696e6701ff9600010c0000ffecff840201010465746830011130323a30303a30303a30303a30303a" +
  "303101fe0bb8010d2f72756e2f6e65746e732f63300001020100010104c0a801050104ffffff00000104c0a80101" +
  "0002011020010db80000000000000000000000050110ffffffffffffffff000000000000000000011020010db800" +
  "000000000000000000000100010201010400000000010400000000000104c0a8010103ffc8000101040a00000001" +
  "04ff00000000010400000000040001fe01fa000101010b3139322e3136382e312e31010b6578616d706c652e6e65" +
  "74010109612e6578616d706c650101076e646f74733a320000";

const printed: Result = {
  interfaces: [{ name: "eth0", mac: "02:00:00:00:00:01", mtu: 1500, sandbox: "/run/netns/c0" }],
  ips: [
    { interface: 0, address: "192.168.1.5/24", gateway: "192.168.1.1" },
    { address: "2001:db8::5/64", gateway: "2001:db8::1" },
  ],
  routes: [
    { dst: "0.0.0.0/0", gw: "192.168.1.1", priority: 100 },
    { dst: "10.0.0.0/8", gw: "0.0.0.0", scope: 253, table: 0 },
  ],
  dns: {
    nameservers: ["192.168.1.1"],
    domain: "example.net",
    search: ["a.example"],
    options: ["ndots:2"],
  },
};

/** A connection on which these bytes come, and what is written to it is kept. */
function tape(hex: string): { stream: ByteStream; written: () => string } {
  const out: Uint8Array[] = [];
  return {
    stream: {
      readable: ReadableStream.from([Uint8Array.fromHex(hex)]),
      writable: new WritableStream({ write: (chunk) => void out.push(chunk.slice()) }),
    },
    written: () => out.map((chunk) => chunk.toHex()).join(""),
  };
}

/** The first value of a stream. */
function decode(hex: string): GobValue {
  const decoder = new GobDecoder();
  for (let rest = Uint8Array.fromHex(hex);;) {
    const start = uintSize(rest[0]!);
    const end = start + Number(readUint(rest));
    const value = decoder.decode(rest.subarray(start, end));
    if (value !== undefined) return value;
    rest = rest.subarray(end);
  }
}

function encode(type: GobType, value: GobValue): string {
  return new GobEncoder().encode({ type, value }).toHex();
}

/** An agent that keeps what it was called with. */
function agentOf(allocated: () => Promise<Result>): { agent: DhcpService; calls: unknown[] } {
  const calls: unknown[] = [];
  const agent: DhcpService = {
    allocate(args) {
      calls.push(["allocate", args]);
      return allocated();
    },
    release(args) {
      calls.push(["release", args]);
      return Promise.resolve();
    },
  };
  return { agent, calls };
}

/** Plays a request of the plugin, and gives what was answered. */
async function answerTo(request: string, agent: DhcpService): Promise<string> {
  const { stream, written } = tape(connect + requestType + request + argsOfPlugin);
  await serveRpc(stream, { methods: dhcpMethods(agent) });
  return written();
}

Deno.test("lease rpc: the plugin's DEL is answered with the bytes of the daemon", async () => {
  const { agent, calls } = agentOf(() => Promise.reject(new Error("not asked for")));
  const answer = await answerTo(requests.release, agent);
  assertEquals(calls, [["release", args]]);
  assertEquals(answer, connected + responseType + responses.released + noReply);
});

Deno.test("lease rpc: a failing ADD of the plugin gets the bytes of the daemon", async () => {
  const { agent, calls } = agentOf(() => Promise.reject(new Error(failure)));
  const answer = await answerTo(requests.allocate, agent);
  assertEquals(calls, [["allocate", args]]);
  assertEquals(answer, connected + responseType + responses.failed + noReply);
});

Deno.test("lease rpc: an ADD of the plugin gets the result that it printed", async () => {
  const { agent } = agentOf(() => Promise.resolve(printed));
  const answer = await answerTo(requests.allocate, agent);
  assertEquals(answer, connected + responseType + responses.allocated + printedReply);
});

Deno.test("lease rpc: an answer of the daemon to our DEL", async () => {
  const { stream, written } = tape(connected + responseType + responses.released + noReply);
  await callRelease(stream, { ...args, args: "" });
  assertEquals(written(), connect + requestType + requests.release + argsOfOurs);
});

Deno.test("lease rpc: an error of the daemon for our ADD", async () => {
  const { stream, written } = tape(connected + responseType + responses.failed + noReply);
  const error = await assertRejects(
    () => callAllocate(stream, { ...args, args: "" }),
    RemoteError,
  );
  assertEquals(error.message, failure);
  assertEquals(written(), connect + requestType + requests.allocate + argsOfOurs);
});

/** Requests for methods that are not there, and the daemon's answers. */
const unknown: Record<string, readonly [request: string, response: string]> = {
  "DHCP.None": [
    "0eff820109444843502e4e6f6e6500",
    "30ff820109444843502e4e6f6e6502207270633a2063616e27742066696e64206d6574686f6420444843502e4e" +
    "6f6e6500",
  ],
  "None.None": [
    "0eff8201094e6f6e652e4e6f6e6500",
    "31ff8201094e6f6e652e4e6f6e6502217270633a2063616e27742066696e642073657276696365204e6f6e652e" +
    "4e6f6e6500",
  ],
  "None": [
    "09ff8201044e6f6e6500",
    "37ff8201044e6f6e65022c7270633a20736572766963652f6d6574686f64207265717565737420696c6c2d666f" +
    "726d65643a204e6f6e6500",
  ],
};

for (const [method, [request, response]] of Object.entries(unknown)) {
  Deno.test(`lease rpc: "${method}" is answered with the bytes of the daemon`, async () => {
    const { agent, calls } = agentOf(() => Promise.resolve(lease));
    const answer = await answerTo(request, agent);
    assertEquals(answer, connected + responseType + response + noReply);
    assertEquals(calls, []);

    const { stream, written } = tape(answer);
    const call = { method, type: argsType, args: writeArgs({ ...args, args: "" }) };
    await assertRejects(() => callRpc(stream, call), RemoteError, "rpc: ");
    assertEquals(written(), connect + requestType + request + argsOfOurs);
  });
}

Deno.test("lease rpc: a result is written with the bytes of Go", () => {
  assertEquals(encode(resultType, writeResult(everything)), definitions + narrowValue);
});

Deno.test("lease rpc: results of Go are read, whatever the width of their addresses", () => {
  assertEquals(readResult(decode(definitions + wideValue)), everything);
  assertEquals(readResult(decode(definitions + narrowValue)), everything);
});

Deno.test("lease rpc: a result of an older daemon is read", () => {
  assertEquals(readResult(decode(olderLease)), lease);
});

Deno.test("lease rpc: what an agent gives arrives, and the stream ends on both sides", async () => {
  for (const result of [everything, printed, lease, emptyResult()]) {
    const there = new TransformStream<Uint8Array, Uint8Array>();
    const back = new TransformStream<Uint8Array, Uint8Array>();
    const { agent, calls } = agentOf(() => Promise.resolve(result));
    const server = { readable: there.readable, writable: back.writable };
    const served = serveRpc(server, { methods: dhcpMethods(agent) });
    const whole = { ...args, netnsOverride: "1" };
    const client = { readable: back.readable, writable: there.writable };
    assertEquals(await callAllocate(client, whole), result);
    assertEquals(calls, [["allocate", whole]]);
    await served;
  }
});

/** The type with further fields between its own. */
function newer(type: StructType): StructType {
  const map: GobType = { kind: "map", name: "", key: { kind: "string" }, element: type };
  const fields = type.fields.flatMap((field) => [{ name: `New${field.name}`, type: map }, field]);
  return { ...type, fields: [...fields, { name: "Newest", type: { kind: "bool" } }] };
}

Deno.test("lease rpc: fields of newer versions are passed over", () => {
  const more = { Newest: true, NewIPs: new Map([["a", {}]]), NewStdinData: new Map([["b", {}]]) };
  const result = { ...writeResult(everything), ...more };
  assertEquals(readResult(decode(encode(newer(resultType), result))), everything);
  assertEquals(readArgs(decode(encode(newer(argsType), { ...writeArgs(args), ...more }))), args);
});

Deno.test("lease rpc: fields that are not sent are empty", () => {
  assertEquals(readResult({}), emptyResult());
  const nobody = { containerID: "", netns: "", ifname: "", args: "", path: "", netnsOverride: "" };
  assertEquals(readArgs({}), { ...nobody, stdin: new Uint8Array() });
  assertEquals(readResult({ Interfaces: [{}] }).interfaces, [{ name: "" }]);
});

Deno.test("lease rpc: numbers that mean nothing at zero are left out, others are kept", () => {
  const net = { IP: new Uint8Array(4), Mask: new Uint8Array(4) };
  const zeros = { MTU: 0, AdvMSS: 0, Priority: 0, Table: 0, Scope: 0 };
  assertEquals(readResult({ Routes: [{ Dst: net, ...zeros }] }).routes, [
    { dst: "0.0.0.0/0", table: 0, scope: 0 },
  ]);
});

/** Address and mask as Go may keep them, and what they are. */
const nets: readonly (readonly [ip: string, mask: string, text: string | undefined])[] = [
  ["c0a80105", "ffffff00", "192.168.1.5/24"],
  ["c0a80105", "ffffffff", "192.168.1.5/32"],
  ["c0a80105", "00000000", "192.168.1.5/0"],
  ["00000000000000000000ffffc0a80105", "ffffff00", "192.168.1.5/24"],
  ["00000000000000000000ffffc0a80105", "ffffffffffffffffffffffffffffff00", "192.168.1.5/24"],
  ["c0a80105", "ffffffffffffffffffffffff00000000", "192.168.1.5/0"],
  ["20010db8000000000000000000000005", "ffffffffffffffff0000000000000000", "2001:db8::5/64"],
  ["20010db8000000000000000000000005", "ffffffffffffffffffffffffffffffff", "2001:db8::5/128"],
  ["00000000000000000000000000000000", "00000000000000000000000000000000", "::/0"],
  ["c0a80105", "ff00ff00", undefined],
  ["c0a80105", "00ffffff", undefined],
  ["c0a80105", "ffffff", undefined],
  ["c0a80105", "", undefined],
  ["c0a80105", "ffffffffffffffff0000000000000000", undefined],
  ["20010db8000000000000000000000005", "ffffff00", undefined],
  ["c0a801", "ffffff00", undefined],
  ["", "", undefined],
];

Deno.test("lease rpc: an address with a mask is read, or refused as none", () => {
  for (const [ip, mask, text] of nets) {
    const Address = { IP: Uint8Array.fromHex(ip), Mask: Uint8Array.fromHex(mask) };
    const read = () => readResult({ IPs: [{ Address }] }).ips;
    if (text !== undefined) assertEquals(read(), [{ address: text }], `${ip} ${mask}`);
    else assertThrows(read, GobError, 'Cannot read gob "Result.IPs[0].Address": expected IP');
  }
});

const address = { IP: new Uint8Array(4), Mask: new Uint8Array(4) };
const misfits: readonly (readonly [value: GobValue, message: string])[] = [
  [7, 'Result": expected struct'],
  [new Uint8Array(), 'Result": expected struct'],
  [{ IPs: 1 }, 'Result.IPs": expected slice'],
  [{ IPs: [{ Address: address }, 1] }, 'Result.IPs[1]": expected struct'],
  [{ IPs: [{ Address: "10.0.0.1/8" }] }, 'Result.IPs[0].Address": expected struct'],
  [
    { IPs: [{ Address: { IP: "10.0.0.1" } }] },
    'Result.IPs[0].Address.IP": expected bytes',
  ],
  [
    { IPs: [{ Address: address, Gateway: new Uint8Array(5) }] },
    'Result.IPs[0].Gateway": expected IP address',
  ],
  [
    { IPs: [{ Address: address, Interface: 2n ** 60n }] },
    'Result.IPs[0].Interface": expected int',
  ],
  [{ IPs: [{}] }, 'Result.IPs[0].Address": expected IP address with mask'],
  [{ Routes: [{ Dst: address, MTU: "1" }] }, 'Result.Routes[0].MTU": expected int'],
  [{ Interfaces: [{ Name: 1 }] }, 'Result.Interfaces[0].Name": expected string'],
  [{ DNS: { Search: ["a", 1] } }, 'Result.DNS.Search[1]": expected string'],
];

Deno.test("lease rpc: a result of other types is refused with the field", () => {
  for (const [value, message] of misfits) {
    assertThrows(() => readResult(value), GobError, `Cannot read gob "${message}`);
  }
});

Deno.test("lease rpc: arguments of other types are an error for the caller", async () => {
  const { agent, calls } = agentOf(() => Promise.resolve(lease));
  const type: StructType = {
    kind: "struct",
    name: "CmdArgs",
    fields: [{ name: "Netns", type: { kind: "bytes" } }],
  };
  for (const method of ["DHCP.Allocate", "DHCP.Release"]) {
    const there = new TransformStream<Uint8Array, Uint8Array>();
    const back = new TransformStream<Uint8Array, Uint8Array>();
    const server = { readable: there.readable, writable: back.writable };
    const served = serveRpc(server, { methods: dhcpMethods(agent) });
    const client = { readable: back.readable, writable: there.writable };
    const call = { method, type, args: { Netns: Uint8Array.of(1) } };
    const message = 'Cannot read gob "CmdArgs.Netns": expected string';
    await assertRejects(() => callRpc(client, call), RemoteError, message);
    await served;
  }
  assertEquals(calls, []);
});

Deno.test("lease rpc: a result with a text that is no address is not written", () => {
  const cases: readonly (readonly [part: Partial<Result>, text: string])[] = [
    [{ ips: [{ address: "192.168.1.5" }] }, "192.168.1.5"],
    [{ ips: [{ address: "192.168.1.5/24", gateway: "" }] }, ""],
    [{ routes: [{ dst: "default" }] }, "default"],
    [{ routes: [{ dst: "10.0.0.0/8", gw: "10.0.0.1/8" }] }, "10.0.0.1/8"],
  ];
  for (const [part, text] of cases) {
    const write = () => writeResult({ ...emptyResult(), ...part });
    assertThrows(write, GobError, `Cannot encode address "${text}": it is none`);
  }
});
