/**
 * `deno task demo`: two containers join a network, talk to each other and
 * through a published port, and leave without a trace. Everything happens in
 * private namespaces: this machine is not changed.
 *
 * @module
 */
import { join } from "@std/path/posix/join";
import { spawn } from "../host/spawn.ts";
import { must } from "../tests/harness/process.ts";
import { outsideNet, Sandbox } from "../tests/harness/sandbox.ts";
import type { State } from "../tests/harness/state.ts";
import { assertSame, difference, snapshot } from "../tests/harness/state.ts";
import type { ResidueId } from "../tests/harness/residue.ts";
import { ensurePackages } from "./packages.ts";
import { insideWords } from "./test.ts";

const network = "demo";
const root = new URL("..", import.meta.url).pathname;

/** What a runtime would pass by the capability `portMappings`. */
const portMappings = [
  { hostPort: 8080, containerPort: 80, protocol: "tcp" },
  { hostPort: 5353, containerPort: 53, protocol: "udp" },
];

/** What stays by design; docs/kernel-objects.md says who uses it. */
const shared: readonly ResidueId[] = [
  "linkLocks",
  "forwarding4",
  "forwarding6",
  "routeLocalnet",
  "iptablesTables",
  "hostportChains",
  "hostLocal",
  "portClaims",
];

function configurationIn({ dataDir }: Sandbox) {
  return {
    cniVersion: "1.1.0",
    name: network,
    plugins: [
      {
        type: "bridge",
        bridge: "demo0",
        isDefaultGateway: true,
        ipMasq: true,
        ipam: {
          type: "host-local",
          dataDir,
          ranges: [[{ subnet: "10.88.0.0/24" }], [{ subnet: "fd00:88::/64" }]],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

if (import.meta.main) await (Deno.env.get("DENOCNI_PRIVATE") ? inside() : outside());

/** Installs what is missing, builds the plugins and starts again in private namespaces. */
async function outside(): Promise<void> {
  heading("Set-up");
  await ensurePackages(["iproute2", "iptables", "nftables", "conntrack", "procps", "util-linux"]);
  const bin = await Deno.makeTempDir({ prefix: "denocni-demo-" });
  try {
    const install = join(root, "scripts/install.ts");
    await must([Deno.execPath(), "run", "-A", install, "--launchers", "--dest", bin]);
    say(`plugins and the cni command: ${bin}`);
    await again(bin);
  } finally {
    await Deno.remove(bin, { recursive: true });
  }
}

async function again(bin: string): Promise<void> {
  const deno = [Deno.execPath(), "run", "-A", import.meta.filename!];
  const { code } = await spawn("/usr/bin/env", [...insideWords(Deno.uid()), ...deno], {
    inherit: true,
    env: { CNI_PATH: bin },
    passThrough: true,
    deadline: 600_000,
  });
  Deno.exitCode = code;
}

/** The demonstration itself. */
async function inside(): Promise<void> {
  await using sandbox = await Sandbox.create();
  const client = await sandbox.outside();
  const [alice, bob] = [await sandbox.container("alice"), await sandbox.container("bob")];
  await sandbox.ip(alice, ["link set lo up"]);
  const cni = commandOf(sandbox);
  const before = await snapshot(sandbox);
  heading(`The network (${sandbox.dir}/net.d/10-demo.conflist)`);
  say(JSON.stringify(configurationIn(sandbox), undefined, 2));
  heading("Attach two containers, the first with published ports");
  await cni("add", alice, { portMappings });
  await cni("add", bob);
  heading("Networks and attachments");
  await cni("list");
  const [first, second] = [await addressesOf(sandbox, alice), await addressesOf(sandbox, bob)];
  heading("Packets");
  await prove(sandbox, { alice, bob, client, first, second });
  heading("Check");
  for (const netns of [alice, bob]) await cni("check", netns);
  say("both attachments are as they were made");
  heading("Detach");
  await cni("del", bob);
  await cni("del", alice, { portMappings });
  await proveNothingIsLeft(sandbox, before);
}

type Cni = (verb: string, netns?: string, capabilities?: unknown) => Promise<void>;

/** Writes the configuration and gives a function that calls the `cni` command on the host. */
function commandOf(sandbox: Sandbox): Cni {
  const configurations = join(sandbox.dir, "net.d");
  Deno.mkdirSync(configurations);
  Deno.mkdirSync("/var/lib/cni/results", { mode: 0o700 });
  Deno.writeTextFileSync(
    join(configurations, "10-demo.conflist"),
    JSON.stringify(configurationIn(sandbox)),
  );
  const bin = Deno.env.get("CNI_PATH")!;
  return async (verb, netns, capabilities) => {
    const pretty = verb === "add" ? ["--pretty"] : [];
    const args = netns ? [verb, ...pretty, network, netns] : [verb];
    say(
      `$ ${capabilities ? `CAP_ARGS='${JSON.stringify(capabilities)}' ` : ""}cni ${args.join(" ")}`,
    );
    const out = await sandbox.inside(sandbox.host, [join(bin, "cni"), ...args], {
      env: {
        ...Deno.env.toObject(),
        NETCONFPATH: configurations,
        ...(capabilities !== undefined && { CAP_ARGS: JSON.stringify(capabilities) }),
      },
    });
    if (out) say(out);
  };
}

interface Addresses {
  readonly ip4: string;
  readonly ip6: string;
}

/** The two addresses that a container has. */
async function addressesOf(sandbox: Sandbox, netns: string): Promise<Addresses> {
  type Shown = { readonly addr_info: { readonly family: string; readonly local: string }[] };
  const [link] = await sandbox.ipJson<Shown>(netns, "addr show dev eth0 scope global");
  const of = (family: string) => link!.addr_info.find((one) => one.family === family)!.local;
  return { ip4: of("inet"), ip6: of("inet6") };
}

interface Scene {
  readonly alice: string;
  readonly bob: string;
  readonly client: string;
  readonly first: Addresses;
  readonly second: Addresses;
}

/** Every claim is a real connection with a real answer. */
async function prove(sandbox: Sandbox, scene: Scene): Promise<void> {
  const { alice, bob, client, first, second } = scene;
  const server = sandbox.agent(alice);
  await server.listen("tcp", { port: 80, address: "::" });
  await server.listen("udp", { port: 53, address: "::" });
  const [fromBob, fromHost, fromClient] = [bob, sandbox.host, client].map((netns) =>
    sandbox.agent(netns)
  ) as [ReturnType<Sandbox["agent"]>, ReturnType<Sandbox["agent"]>, ReturnType<Sandbox["agent"]>];
  await claim("bob → alice, IPv4", fromBob.ping(first.ip4));
  await claim("bob → alice, IPv6", fromBob.ping(first.ip6));
  await claim("alice → bob, IPv4", server.ping(second.ip4));
  await claim("bob → gateway, IPv4", fromBob.ping("10.88.0.1"));
  await claim("bob → gateway, IPv6", fromBob.ping("fd00:88::1"));
  await claim("bob → outside (masqueraded), IPv4", fromBob.ping(outsideNet.client4));
  await claim("bob → outside (masqueraded), IPv6", fromBob.ping(outsideNet.client6));
  for (const address of [outsideNet.host4, outsideNet.host6]) {
    for (const [transport, port] of [["tcp", 8080], ["udp", 5353]] as const) {
      const to = `host port ${port}/${transport} on ${address} → alice`;
      await claim(`outside → ${to}`, answered(fromClient.call(address, port, { transport })));
      await claim(`host → ${to}`, answered(fromHost.call(address, port, { transport })));
    }
  }
  await claim("host → 127.0.0.1:8080/tcp → alice", answered(fromHost.call("127.0.0.1", 8080)));
}

async function answered(call: Promise<{ readonly is: string }>): Promise<boolean> {
  return (await call).is === "answered";
}

async function claim(what: string, proof: Promise<boolean>): Promise<void> {
  if (!await proof) throw new Error(`Cannot show "${what}": no answer`);
  say(`ok  ${what}`);
}

async function proveNothingIsLeft(sandbox: Sandbox, before: State): Promise<void> {
  await sandbox.inside(sandbox.host, ["ip", "link", "del", "demo0"]);
  const after = await snapshot(sandbox);
  assertSame(before, after, { allow: shared });
  say("nothing of either container is left: links, addresses, routes, rules and files compared");
  const stays = difference(before, after).filter((line) => line.startsWith(" ")).length;
  say(`what stays is shared by all containers of a host: ${stays} lines, docs/kernel-objects.md`);
}

function heading(text: string): void {
  say(`\n== ${text}`);
}

function say(text: string): void {
  console.log(text);
}
