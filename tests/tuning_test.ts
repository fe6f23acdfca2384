/**
 * tuning on a real kernel: what each source of a value gives, what is restored and
 * when it is not, the administrator's list, and kernels that let nothing be written.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { readOnly } from "./harness/fault.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { fail, succeed } from "./harness/plugin.ts";
import { must } from "./harness/process.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs = ["link:veth", "plugin:tuning"] as const;
const ifname = "eth0.5";
const backup = `/run/cni/tuning/c1_${ifname}.json`;
const residue = { allow: ["tuningFolders"] } as const;

/** A container with an interface of a dotted name. */
async function container(sandbox: Sandbox, name = "a"): Promise<string> {
  const netns = await sandbox.container(name);
  await sandbox.ip(netns, [
    `link add ${ifname} type veth peer name peer0`,
    `addr add 10.0.0.2/24 dev ${ifname}`,
    "link set peer0 up",
    `link set ${ifname} up`,
  ]);
  return netns;
}

interface CallOptions {
  readonly version?: string;
  readonly args?: string;
  readonly containerId?: string;
}

function callOf(netns: string, keys: JsonObject, options: CallOptions = {}) {
  const cniVersion = options.version ?? "1.0.0";
  const prevResult = {
    cniVersion,
    interfaces: [{ name: ifname, sandbox: netns }],
    ips: [{
      ...(cniVersion < "1.0.0" && { version: "4" }),
      address: "10.0.0.2/24",
      interface: 0,
    }],
  };
  return (verb: "ADD" | "CHECK" | "DEL"): PluginCall => ({
    type: "tuning",
    verb,
    netns,
    ifname,
    config: { name: "tuned", cniVersion, prevResult, ...keys },
    ...(options.args !== undefined && { args: options.args }),
    ...(options.containerId !== undefined && { containerId: options.containerId }),
  });
}

interface Shown {
  readonly address: string;
  readonly mtu: number;
  readonly promiscuity: number;
  readonly flags: readonly string[];
  /** Absent for 0. */
  readonly txqlen?: number;
}

async function shown(sandbox: Sandbox, netns: string) {
  const [link] = await sandbox.ipJson<Shown>(netns, `link show dev ${ifname}`);
  const { address: mac, mtu, promiscuity, flags, txqlen: txQLen = 0 } = link!;
  return { mac, mtu, promiscuity, allmulti: flags.includes("ALLMULTI"), txQLen };
}

async function variable(sandbox: Sandbox, netns: string, key: string): Promise<string> {
  return (await sandbox.inside(netns, ["cat", `/proc/sys/${key}`])).trim();
}

async function setVariable(sandbox: Sandbox, netns: string, key: string, value: string) {
  await sandbox.inside(netns, ["sh", "-c", 'printf %s "$1" >"/proc/sys/$2"', "sh", value, key]);
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

const mac = "c2:11:22:33:44:55";
type Link = Awaited<ReturnType<typeof shown>>;
interface Source {
  readonly title: string;
  readonly keys: JsonObject;
  readonly args?: string;
  readonly expected: Partial<Link>;
}

const both = (keys: JsonObject, expected: Partial<Link>): Source[] => [
  { title: `${Object.keys(keys)} from the configuration`, keys, expected },
  { title: `${Object.keys(keys)} from args.cni`, keys: { args: { cni: keys } }, expected },
];

const sources: readonly Source[] = [
  ...both({ promisc: true }, { promiscuity: 1 }),
  ...both({ mtu: 1454 }, { mtu: 1454 }),
  ...both({ txQLen: 20000 }, { txQLen: 20000 }),
  ...both({ txQLen: 0 }, { txQLen: 0 }),
  ...both({ mac }, { mac }),
  ...both({ allmulti: true }, { allmulti: true }),
  {
    title: "mac from CNI_ARGS",
    keys: { mac: "c2:11:22:33:44:77" },
    args: "IgnoreUnknown=true;MAC=c2:11:22:33:44:66",
    expected: { mac: "c2:11:22:33:44:66" },
  },
  {
    title: "mac from the capability, which beats CNI_ARGS",
    keys: { capabilities: { mac: true }, RuntimeConfig: { mac } },
    args: "IgnoreUnknown=true;MAC=c2:11:22:33:44:66",
    expected: { mac },
  },
  {
    title: "mac from args.cni, which beats the capability, in another notation",
    keys: {
      runtimeConfig: { mac: "c2:11:22:33:44:66" },
      args: { cni: { mac: "C2-11-22-33-44-55" } },
    },
    expected: { mac },
  },
  {
    title: "everything at once, in a folder of its own",
    keys: { mac, promisc: true, mtu: 4000, txQLen: 20000, dataDir: "/run/denocni-tuning-test" },
    expected: { mac, promiscuity: 1, mtu: 4000, txQLen: 20000 },
  },
];

for (const version of ["0.3.0", "0.3.1", "0.4.0", "1.0.0"]) {
  kernelTest(
    `${version}: every source of an attribute, set and restored`,
    { needs },
    async (sandbox, test) => {
      const netns = await container(sandbox);
      const before = await snapshot(sandbox);
      const plain = await shown(sandbox, netns);
      for (const { title, keys, args, expected } of sources) {
        await test.step(title, async () => {
          const call = callOf(netns, keys, { version, ...(args !== undefined && { args }) });
          const result = await succeed(sandbox, call("ADD"));
          assertEquals(await shown(sandbox, netns), { ...plain, ...expected });
          const dir = (keys["dataDir"] ?? "/run/cni/tuning") as string;
          assert(isFile(`${dir}/c1_${ifname}.json`));
          const [entry] = result["interfaces"] as JsonObject[];
          assertEquals(entry!["mac"], expected.mac);
          if (version >= "0.4.0") await succeed(sandbox, call("CHECK"));
          await succeed(sandbox, call("DEL"));
          assertEquals(await shown(sandbox, netns), plain);
          assert(!isFile(`${dir}/c1_${ifname}.json`));
          assertSame(before, await snapshot(sandbox), residue);
        });
      }
    },
  );

  kernelTest(
    `${version}: a variable is set and restored; no file is needed`,
    { needs },
    async (sandbox) => {
      const netns = await container(sandbox);
      const key = "net/ipv4/conf/all/log_martians";
      await setVariable(sandbox, netns, key, "0");
      const call = callOf(netns, { sysctl: { "net.ipv4.conf.all.log_martians": "1" } }, {
        version,
      });
      const result = await succeed(sandbox, call("ADD"));
      const { prevResult } = call("ADD").config as JsonObject;
      assertEquals(result["interfaces"], (prevResult as JsonObject)["interfaces"]);
      assertEquals(await variable(sandbox, netns, key), "1");
      assert(!isFile(backup));
      if (version >= "0.4.0") await succeed(sandbox, call("CHECK"));
      await succeed(sandbox, call("DEL"));
      assertEquals(await variable(sandbox, netns, key), "0");
    },
  );
}

kernelTest("the MTU of a result that has one is the new one", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const call = callOf(netns, { mtu: 1400 }, { version: "1.1.0" })("ADD");
  const config = call.config as JsonObject;
  const interfaces = [{ name: ifname, mtu: 1500, sandbox: netns }];
  const prevResult = { ...config["prevResult"] as JsonObject, interfaces };
  const result = await succeed(sandbox, { ...call, config: { ...config, prevResult } });
  assertEquals((result["interfaces"] as JsonObject[])[0]!["mtu"], 1400);
});

kernelTest("an interface's dots stay in a variable's name", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  for (
    const name of [
      "net.ipv4.conf.IFNAME.proxy_arp",
      "net/ipv4/conf/IFNAME/proxy_arp",
      `net/ipv4/conf/${ifname}/proxy_arp`,
    ]
  ) {
    const call = callOf(netns, { sysctl: { [name]: "1" } });
    await succeed(sandbox, call("ADD"));
    assertEquals(await variable(sandbox, netns, `net/ipv4/conf/${ifname}/proxy_arp`), "1", name);
    await succeed(sandbox, call("DEL"));
    assertEquals(await variable(sandbox, netns, `net/ipv4/conf/${ifname}/proxy_arp`), "0", name);
  }
});

kernelTest(
  "nothing outside of the container's own variables can be written",
  { needs },
  async (sandbox) => {
    const netns = await container(sandbox);
    const before = await snapshot(sandbox);
    const global = "net.core.netdev_budget";
    const { code, msg } = await fail(
      sandbox,
      callOf(netns, { sysctl: { [global]: "301" } })("ADD"),
    );
    assertEquals(code, 103, msg);
    assertStringIncludes(msg, "has no variable of this name to itself");
    const names = [
      "kernel.hostname",
      "net/../kernel/hostname",
      "/proc/sys/kernel/hostname",
      "net/ipv4/../../kernel/hostname",
    ];
    for (const name of names) {
      const error = await fail(sandbox, callOf(netns, { sysctl: { [name]: "evil" } })("ADD"));
      assert(error.code === 7 || error.code === 103, error.msg);
    }
    assertEquals((await must(["hostname"])).includes("evil"), false);
    assertSame(before, await snapshot(sandbox), residue);
  },
);

kernelTest(
  "keys that stand twice are refused in the text, also by CHECK",
  { needs },
  async (sandbox) => {
    const netns = await container(sandbox);
    const call = callOf(netns, { sysctl: { "net.ipv4.conf.all.log_martians": "1" } });
    for (const verb of ["ADD", "CHECK"] as const) {
      const text = JSON.stringify(call(verb).config)
        .replace('"sysctl":{', '"sysctl":{"net.ipv4.conf.all.log_martians":"0",');
      const { code, msg } = await fail(sandbox, { ...call(verb), config: text });
      assertEquals(code, 7);
      assertStringIncludes(msg, "duplicated sysctl keys are not allowed");
    }
  },
);

kernelTest("an interface name with a slash is refused", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const call = callOf(netns, { mtu: 1400 });
  for (const verb of ["ADD", "DEL"] as const) {
    const { code, msg } = await fail(sandbox, { ...call(verb), ifname: "eth/0" });
    assertEquals(code, 4);
    assertStringIncludes(msg, "contains /");
  }
});

kernelTest("with a read-only /proc/sys what is right already succeeds, the rest fails whole", {
  needs,
}, async (sandbox) => {
  const netns = await container(sandbox);
  const key = "net/ipv4/conf/all/log_martians";
  await setVariable(sandbox, netns, key, "1");
  await setVariable(sandbox, netns, "net/ipv4/tcp_rmem", "4096 131072 6291456");
  const right = callOf(netns, {
    sysctl: {
      "net.ipv4.conf.all.log_martians": "1",
      "net.ipv4.tcp_rmem": "4096 131072 6291456",
    },
  });
  const mixed = callOf(netns, {
    mtu: 1400,
    sysctl: { "net.ipv4.conf.all.log_martians": "1", "net.ipv4.conf.IFNAME.proxy_arp": "1" },
  });
  const before = await snapshot(sandbox);
  await using _ = await readOnly("/proc/sys");
  for (const verb of ["ADD", "CHECK", "DEL"] as const) await succeed(sandbox, right(verb));
  assertSame(before, await snapshot(sandbox));
  const { code, msg } = await fail(sandbox, mixed("ADD"));
  assertEquals(code, 107, msg);
  assertStringIncludes(msg, "net.ipv4.conf.IFNAME.proxy_arp");
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest("a failing step takes back everything before it", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const before = await snapshot(sandbox);
  const call = callOf(netns, {
    mac,
    promisc: true,
    mtu: 70000,
    sysctl: { "net.ipv4.conf.IFNAME.proxy_arp": "1" },
  });
  const { msg } = await fail(sandbox, call("ADD"));
  assertStringIncludes(msg, `set MTU of container interface "${ifname}" to 70000`);
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest("what somebody has changed since is left alone", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const keys = [`net/ipv4/conf/${ifname}/proxy_arp`, `net/ipv4/conf/${ifname}/rp_filter`] as const;
  for (const key of keys) await setVariable(sandbox, netns, key, "0");
  const call = callOf(netns, {
    sysctl: { "net.ipv4.conf.IFNAME.proxy_arp": "1", "net.ipv4.conf.IFNAME.rp_filter": "1" },
  });
  await succeed(sandbox, call("ADD"));
  await setVariable(sandbox, netns, keys[1], "2");
  await succeed(sandbox, call("DEL"));
  assertEquals(await variable(sandbox, netns, keys[0]), "0");
  assertEquals(await variable(sandbox, netns, keys[1]), "2");
});

kernelTest("a second ADD keeps what the first one has found", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const plain = await shown(sandbox, netns);
  const key = `net/ipv4/conf/${ifname}/rp_filter`;
  await setVariable(sandbox, netns, key, "0");
  const before = await snapshot(sandbox);
  const name = "net.ipv4.conf.IFNAME.rp_filter";
  await succeed(sandbox, callOf(netns, { mtu: 1400, sysctl: { [name]: "1" } })("ADD"));
  const second = callOf(netns, { mtu: 1300, txQLen: 7, sysctl: { [name]: "2" } });
  await succeed(sandbox, second("ADD"));
  const { mtu, txQLen } = await shown(sandbox, netns);
  assertEquals([mtu, txQLen], [1300, 7]);
  assertEquals(JSON.parse(Deno.readTextFileSync(backup)), { mtu: plain.mtu, txQLen: plain.txQLen });
  await succeed(sandbox, second("DEL"));
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest(
  "what is missing is a sentence, and CHECK tells every difference",
  { needs },
  async (sandbox) => {
    const netns = await container(sandbox);
    const call = callOf(netns, {
      mac,
      mtu: 1400,
      sysctl: { "net.ipv4.conf.IFNAME.proxy_arp": "1" },
    });
    const other = await fail(sandbox, { ...call("ADD"), ifname: "eth9" });
    assertEquals(other.code, 103);
    assertStringIncludes(other.msg, 'Cannot find container link "eth9"');
    await succeed(sandbox, call("ADD"));
    await sandbox.ip(netns, [`link set dev ${ifname} mtu 1300 address ${mac.replace(/5$/, "6")}`]);
    await setVariable(sandbox, netns, `net/ipv4/conf/${ifname}/proxy_arp`, "0");
    const { code, msg } = await fail(sandbox, call("CHECK"));
    assertEquals(code, 105);
    for (const part of ["hardware address", "MTU 1300", "proxy_arp"]) {
      assertStringIncludes(
        msg,
        part,
      );
    }
  },
);

kernelTest("CHECK compares addresses without regard to notation", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const call = callOf(netns, { mac: "C2-11-22-33-44-55" });
  await succeed(sandbox, call("ADD"));
  await succeed(sandbox, call("CHECK"));
});

kernelTest(
  "DEL of a container that is gone leaves neither file nor record",
  { needs },
  async (sandbox) => {
    await sandbox.container("stays");
    const before = await snapshot(sandbox);
    const netns = await container(sandbox, "gone");
    const call = callOf(netns, { mtu: 1400, sysctl: { "net.ipv4.conf.IFNAME.proxy_arp": "1" } });
    await succeed(sandbox, call("ADD"));
    await sandbox.removeNetns("gone");
    await succeed(sandbox, { ...call("DEL"), netns: "" });
    assertSame(before, await snapshot(sandbox), residue);
  },
);

kernelTest(
  "a namespace of the same path and another container is not touched",
  { needs },
  async (sandbox) => {
    const first = await container(sandbox, "b");
    const call = callOf(first, { mtu: 1400, sysctl: { "net.ipv4.conf.IFNAME.proxy_arp": "1" } });
    await succeed(sandbox, call("ADD"));
    await sandbox.removeNetns("b");
    const other = await container(sandbox, "b");
    assertEquals(other, first);
    await sandbox.ip(other, [`link set dev ${ifname} mtu 1300`]);
    await setVariable(sandbox, other, `net/ipv4/conf/${ifname}/proxy_arp`, "1");
    const before = await shown(sandbox, other);
    await succeed(sandbox, call("DEL"));
    assertEquals(await shown(sandbox, other), before);
    assertEquals(await variable(sandbox, other, `net/ipv4/conf/${ifname}/proxy_arp`), "1");
    assert(!isFile(backup));
  },
);

/** A copy of /etc, on which a list may be put, in the place of this machine's. */
async function ownEtc(sandbox: Sandbox): Promise<AsyncDisposable & { write(text: string): void }> {
  const copy = `${sandbox.dir}/etc`;
  await must(["cp", "-a", "/etc", copy]);
  await must(["mount", "--bind", copy, "/etc"]);
  Deno.mkdirSync("/etc/cni/tuning", { recursive: true });
  return {
    write: (text) => Deno.writeTextFileSync("/etc/cni/tuning/allowlist.conf", text),
    async [Symbol.asyncDispose]() {
      await must(["umount", "/etc"]);
    },
  };
}

kernelTest("the administrator's list decides about ADD and STATUS", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const call = callOf(netns, { sysctl: { "net.ipv4.conf.all.log_martians": "1" } });
  const byArgs = callOf(netns, {
    args: { cni: { sysctl: { "net.ipv4.conf.all.log_martians": "1" } } },
  });
  const status: PluginCall = {
    type: "tuning",
    verb: "STATUS",
    config: { name: "tuned", cniVersion: "1.1.0" },
  };
  await using etc = await ownEtc(sandbox);
  etc.write(String.raw`^net\.ipv4\.conf\.other\.[a-z_]*$`);
  for (const one of [call, byArgs]) {
    const { code, msg } = await fail(sandbox, one("ADD"));
    assertEquals(code, 7);
    assertStringIncludes(msg, "Sysctl net.ipv4.conf.all.log_martians is not allowed");
    await succeed(sandbox, one("DEL"));
  }
  await succeed(sandbox, status);
  etc.write(String.raw`^net\.ipv4\.conf\.all\.[a-z_]*$`);
  for (const one of [call, byArgs]) {
    await succeed(sandbox, one("ADD"));
    await succeed(sandbox, one("DEL"));
  }
  etc.write("");
  assertStringIncludes((await fail(sandbox, call("ADD"))).msg, "are allowed: []");
  etc.write("(");
  assertStringIncludes((await fail(sandbox, call("ADD"))).msg, "is no regular expression");
  assertEquals((await fail(sandbox, status)).code, 50);
  Deno.removeSync("/etc/cni/tuning/allowlist.conf");
  Deno.mkdirSync("/etc/cni/tuning/allowlist.conf");
  const { code, msg } = await fail(sandbox, call("ADD"));
  assertEquals(code, 5, msg);
  assertStringIncludes(msg, 'Cannot read "/etc/cni/tuning/allowlist.conf"');
  assertEquals((await fail(sandbox, status)).code, 50);
});

kernelTest("malformed CNI_ARGS refuse ADD and CHECK, and never DEL", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const call = callOf(netns, { mtu: 1400 }, { args: "K=V" });
  assertEquals((await fail(sandbox, call("ADD"))).code, 4);
  assertEquals((await fail(sandbox, call("CHECK"))).code, 4);
  await succeed(sandbox, call("DEL"));
});
