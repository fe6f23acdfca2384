import { assertEquals, assertThrows } from "@std/assert";
import { CniError } from "../error.ts";
import type { AttachmentKey } from "../attachment_key.ts";
import type { CachedAttachment } from "./cache.ts";
import { Cache } from "./cache.ts";

/** A cache in a directory that vanishes at the end of the scope. */
class TempCache extends Cache implements Disposable {
  constructor(readonly dir: string = Deno.makeTempDirSync({ prefix: "cache-" })) {
    super(dir);
  }

  /** Puts bytes where an attachment is remembered. */
  plant({ network, containerId, ifName }: AttachmentKey, text: string): string {
    Deno.mkdirSync(`${this.dir}/results`, { recursive: true });
    const path = `${this.dir}/results/${network}-${containerId}-${ifName}`;
    Deno.writeTextFileSync(path, text);
    return path;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}

const key: AttachmentKey = { network: "cachetest", containerId: "c1", ifName: "eth0" };
const result = { cniVersion: "1.1.0", ips: [{ address: "10.1.2.3/24" }] };
const attachment: CachedAttachment = {
  ...key,
  netns: "/some/netns",
  config: '{"name":"cachetest","note":"größe"}',
  args: [["FOO", "BAR"], ["A", "1"]],
  capabilityArgs: { mac: "c2:b0:57:49:47:f1", other: [1, { deep: true }] },
  result,
};

Deno.test("the file has the reference's name, modes, keys and order", () => {
  using cache = new TempCache();
  cache.write(attachment);
  const path = `${cache.dir}/results/cachetest-c1-eth0`;
  assertEquals(Deno.statSync(path).mode! & 0o777, 0o600);
  assertEquals(Deno.statSync(`${cache.dir}/results`).mode! & 0o777, 0o700);
  const text = Deno.readTextFileSync(path);
  const file = JSON.parse(text);
  assertEquals(text, JSON.stringify(file));
  assertEquals(Object.keys(file), [
    "kind",
    "containerId",
    "config",
    "ifName",
    "networkName",
    "netns",
    "cniArgs",
    "capabilityArgs",
    "result",
  ]);
  assertEquals(file.kind, "cniCacheV1");
  assertEquals(file.config, "eyJuYW1lIjoiY2FjaGV0ZXN0Iiwibm90ZSI6Imdyw7bDn2UifQ==");
  assertEquals(file.cniArgs, [["FOO", "BAR"], ["A", "1"]]);
});

Deno.test("empty values are left out of the file", () => {
  using cache = new TempCache();
  const { result: _, ...rest } = attachment;
  cache.write({ ...rest, netns: "", args: [], capabilityArgs: {} });
  const file = JSON.parse(Deno.readTextFileSync(`${cache.dir}/results/cachetest-c1-eth0`));
  assertEquals(Object.keys(file), ["kind", "containerId", "config", "ifName", "networkName"]);
});

Deno.test("what was written is read", () => {
  using cache = new TempCache();
  cache.write(attachment);
  assertEquals(cache.attachment(key), attachment);
  assertEquals(cache.result(key, "1.1.0"), result);
  assertEquals(cache.attachments(), [attachment]);
  assertEquals(cache.attachments("c1"), [attachment]);
  assertEquals(cache.attachments("c"), []);
});

Deno.test("two interfaces of a container have a file each", () => {
  using cache = new TempCache();
  cache.write(attachment);
  cache.write({ ...attachment, ifName: "eth1" });
  const names = [...Deno.readDirSync(`${cache.dir}/results`)].map(({ name }) => name).sort();
  assertEquals(names, ["cachetest-c1-eth0", "cachetest-c1-eth1"]);
  assertEquals(cache.attachments("c1").map(({ ifName }) => ifName), ["eth0", "eth1"]);
});

Deno.test("remove forgets one attachment, and once more is a success", () => {
  using cache = new TempCache();
  cache.write(attachment);
  cache.write({ ...attachment, ifName: "eth1" });
  cache.remove(key);
  cache.remove(key);
  assertEquals(cache.attachment(key), undefined);
  assertEquals(cache.attachments().map(({ ifName }) => ifName), ["eth1"]);
});

const incomplete: readonly [Partial<AttachmentKey>, string][] = [
  [
    { network: "" },
    'cache file path requires network name (""), container ID ("c1"), and interface name ("eth0")',
  ],
  [
    { containerId: "" },
    'cache file path requires network name ("cachetest"), container ID (""), and interface name ("eth0")',
  ],
  [
    { ifName: "" },
    'cache file path requires network name ("cachetest"), container ID ("c1"), and interface name ("")',
  ],
  [
    { network: "../../etc/x" },
    'Cannot name cache file "../../etc/x-c1-eth0": it contains "/" or NUL',
  ],
];
for (const [part, message] of incomplete) {
  Deno.test(`a key with ${JSON.stringify(part)} is refused`, () => {
    using cache = new TempCache();
    const calls = [
      () => cache.write({ ...attachment, ...part }),
      () => cache.result({ ...key, ...part }, "1.0.0"),
      () => cache.attachment({ ...key, ...part }),
      () => cache.remove({ ...key, ...part }),
    ];
    for (const call of calls) assertEquals(assertThrows(call, CniError).msg, message);
  });
}

Deno.test("an attachment that is not remembered has no result", () => {
  using cache = new TempCache();
  assertEquals(cache.result(key, "1.0.0"), undefined);
  assertEquals(cache.attachment(key), undefined);
  assertEquals(cache.attachments(), []);
});

Deno.test("garbage is an error that says so", () => {
  using cache = new TempCache();
  cache.plant(key, "adfadsfasdfasfdsafaf");
  assertEquals(
    assertThrows(() => cache.attachment(key), CniError).msg,
    `failed to unmarshal cached network "cachetest" config: invalid character 'a' looking for beginning of value`,
  );
  assertEquals(
    assertThrows(() => cache.result(key, "1.0.0"), CniError).msg,
    "decoding version from network config: invalid character 'a' looking for beginning of value",
  );
});

Deno.test("a file of another kind has no configuration, and may be a bare result", () => {
  using cache = new TempCache();
  cache.plant(key, JSON.stringify({ kind: "aabbcc", ...result }));
  assertEquals(
    assertThrows(() => cache.attachment(key), CniError).msg,
    'read cached network "cachetest" config has wrong kind: aabbcc',
  );
  assertEquals(cache.result(key, "1.1.0"), result);
});

Deno.test("results are converted to the version that is asked for", () => {
  using cache = new TempCache();
  const ips = [{ version: "4", address: "10.1.2.3/24" }];
  cache.plant(key, JSON.stringify({ cniVersion: "0.3.1", ips }));
  assertEquals(cache.result(key, "1.0.0"), {
    cniVersion: "1.0.0",
    ips: [{ address: "10.1.2.3/24" }],
  });
  assertEquals(cache.result(key, ""), {
    cniVersion: "0.1.0",
    ip4: { ip: "10.1.2.3/24" },
    dns: {},
  });
});

Deno.test("a result without version is of 0.1.0, and a file without result holds an empty one", () => {
  using cache = new TempCache();
  cache.plant(key, JSON.stringify({ ip4: { ip: "10.1.2.3/24" } }));
  assertEquals(cache.result(key, "1.0.0")?.ips, [{ address: "10.1.2.3/24" }]);
  cache.plant(key, JSON.stringify({ kind: "cniCacheV1", containerId: "c1" }));
  assertEquals(cache.result(key, "1.0.0"), { cniVersion: "1.0.0" });
});

Deno.test("a result that cannot be converted is an error", () => {
  using cache = new TempCache();
  cache.plant(key, JSON.stringify({ cniVersion: "0.4567.0" }));
  assertEquals(
    assertThrows(() => cache.result(key, "1.0.0"), CniError).msg,
    'unsupported CNI result version "0.4567.0"',
  );
  cache.plant(key, JSON.stringify({ cniVersion: "1.0.0" }));
  assertEquals(
    assertThrows(() => cache.result(key, "0.2.0"), CniError).msg,
    'failed to convert cached result to config version "0.2.0": cannot convert: no valid IP addresses',
  );
});

Deno.test("attachments passes over what is none and trusts content over names", () => {
  using cache = new TempCache();
  cache.write(attachment);
  cache.plant({ ...key, ifName: "garbage" }, "asdf");
  cache.plant({ ...key, ifName: "empty" }, "");
  cache.plant({ ...key, ifName: "list" }, "[]");
  cache.plant({ ...key, ifName: "kind" }, JSON.stringify({ kind: "x", ifName: "e" }));
  cache.plant({ ...key, ifName: "unnamed" }, JSON.stringify({ kind: "cniCacheV1" }));
  cache.write({ ...attachment, network: "a-c1-b", containerId: "c2" });
  assertEquals(cache.attachments("c1").map(({ ifName }) => ifName), ["eth0"]);
  assertEquals(cache.attachments().map(({ network }) => network), ["a-c1-b", "cachetest"]);
});

Deno.test("a directory of results that is a file is an error", () => {
  using cache = new TempCache();
  Deno.writeTextFileSync(`${cache.dir}/results`, "");
  assertThrows(() => cache.attachments(), CniError, "not a directory");
  assertThrows(() => cache.write(attachment), CniError);
});

Deno.test("a file cut off at any byte is never taken for an attachment", () => {
  using cache = new TempCache();
  cache.write(attachment);
  const text = Deno.readTextFileSync(`${cache.dir}/results/cachetest-c1-eth0`);
  for (let length = 0; length < text.length; length++) {
    cache.plant(key, text.slice(0, length));
    assertEquals(cache.attachments(), []);
    assertThrows(() => cache.result(key, "1.0.0"), CniError, "decoding version");
  }
});
