/**
 * The lease agent and its exchanges start in every packaging, as `packaging_test.ts` has it for
 * plugins.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Sandbox } from "./harness/sandbox.ts";
import {
  addressesOn,
  dhcpCall,
  joinContainer,
  joinLan,
  LeaseAgentProcess,
  socketOf,
} from "./harness/dhcp_agent.ts";
import { Dnsmasq, subnet } from "./harness/dhcp_server.ts";
import { kernelTest } from "./harness/need.ts";
import { addressesOf, binDir, startPlugin, succeed } from "./harness/plugin.ts";
import { must, Running } from "./harness/process.ts";

const needs = ["link:bridge", "link:veth", "tool:dnsmasq", "plugin:dhcp"] as const;
const first = `${subnet.first}/${subnet.prefix}`;
const hasty = ["-timeout", "1s"];
const path = "/usr/sbin:/usr/bin:/sbin:/bin";

/** The words and the variables' names of each exchange inside a namespace. */
async function exchanges(netns: string) {
  const pids = await must(["ip", "netns", "pids", netns.split("/").at(-1)!]);
  const read = (pid: string, file: string) =>
    Deno.readTextFileSync(`/proc/${pid}/${file}`).split("\0").filter(Boolean);
  return pids.split("\n").filter(Boolean)
    .map((pid) => ({
      words: read(pid, "cmdline"),
      variables: read(pid, "environ").map((line) => line.split("=")[0]!),
    }))
    .filter(({ words }) => words.at(-1) === "exchange" && !words[0]!.endsWith("sh"));
}

kernelTest("dhcp: an exchange may open sockets and nothing else", { needs }, async (sandbox) => {
  await joinLan(sandbox);
  const server = await Dnsmasq.start(sandbox, { more: ["--dhcp-ignore=tag:!known"] });
  const agent = await LeaseAgentProcess.start(sandbox, { flags: hasty });
  const netns = await joinContainer(sandbox);
  const called = startPlugin(sandbox, dhcpCall(sandbox, "ADD", { netns }));
  await server.logged(/DHCPDISCOVER.* ignored/);
  const [exchange, ...others] = await exchanges(netns);
  assertEquals(others, []);
  const { words, variables } = exchange!;
  const flags = words.filter((word) => word.startsWith("--allow-") || word === "-A");
  // An executable has its grants inside, and gives up all others.
  if (words[0]!.endsWith("/dhcp")) assertEquals(flags, []);
  else assertEquals(flags, ["--allow-net"]);
  assertEquals(variables.filter((name) => /^(CNI_|LISTEN_)/.test(name)), []);
  await agent.end("SIGKILL");
  await called.finished;
});

kernelTest("dhcp: one shot through the bridge plugin, which opens no sockets", {
  needs: [...needs, "plugin:bridge"],
}, async (sandbox) => {
  await joinLan(sandbox);
  const lines = ["link add br0 type bridge", "link set up0 master br0", "link set br0 up"];
  await sandbox.ip(sandbox.host, lines);
  const server = await Dnsmasq.start(sandbox);
  const netns = await sandbox.container("a");
  const call = (verb: string) => ({
    ...dhcpCall(sandbox, verb, {
      netns,
      ipam: { oneShot: true },
      config: { type: "bridge", bridge: "br0" },
    }),
    type: "bridge",
  });
  assertEquals(addressesOf(await succeed(sandbox, call("ADD"))), [first]);
  assertEquals(await addressesOn(sandbox, netns), [subnet.first]);
  await succeed(sandbox, call("DEL"));
  await server.logged(/DHCPRELEASE/);
});

kernelTest("dhcp: an agent goes on when its file is replaced", { needs }, async (sandbox) => {
  const dir = await Deno.makeTempDir();
  const place = async () => {
    await Deno.copyFile(`${binDir()}/dhcp`, `${dir}/new`);
    await Deno.rename(`${dir}/new`, `${dir}/dhcp`);
  };
  await place();
  await joinLan(sandbox);
  await Dnsmasq.start(sandbox);
  const agent = await LeaseAgentProcess.start(sandbox, { dir, flags: hasty });
  await place();
  const netns = await joinContainer(sandbox);
  assertEquals(addressesOf(await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }))), [first]);
  await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
  await agent.end("SIGTERM");
  await Deno.remove(dir, { recursive: true });
});

/**
 * Does what systemd does: opens the socket, and starts a program with it as descriptor 3 when
 * somebody calls.
 */
const activate = `
use Socket; use Fcntl; use POSIX ();
my $path = shift;
POSIX::close(3);
socket(my $socket, AF_UNIX, SOCK_STREAM, 0) or die;
bind($socket, sockaddr_un("$path.new")) or die;
listen($socket, 9) or die;
rename "$path.new", $path or die;
my $called = '';
vec($called, fileno($socket), 1) = 1;
select($called, undef, undef, undef);
if (fileno($socket) == 3) { fcntl($socket, F_SETFD, 0); } else { POSIX::dup2(fileno($socket), 3); }
$ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1;
exec @ARGV;
`;

/** Starts the agent by the first call; gives its process. */
async function activated(sandbox: Sandbox): Promise<Running> {
  const socket = socketOf(sandbox);
  const agent = [`${binDir()}/dhcp`, "daemon", "-socketpath", socket, ...hasty];
  const words = ["nsenter", `--net=${sandbox.host}`, "perl", "-e", activate, socket, ...agent];
  const running = new Running(words, { env: { PATH: path } });
  await sandbox.inside(sandbox.host, [
    "sh",
    "-c",
    'until [ -S "$1" ]; do sleep 0.01; done',
    "sh",
    socket,
  ]);
  return running;
}

const passing = { needs: [...needs, "tool:perl"] } as const;

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  kernelTest(
    `dhcp: a call starts the agent, ${signal} ends all of it`,
    passing,
    async (sandbox) => {
      await joinLan(sandbox);
      await Dnsmasq.start(sandbox);
      const netns = await joinContainer(sandbox);
      const agent = await activated(sandbox);
      const add = () => succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
      assertEquals(addressesOf(await add()), [first]);
      assertEquals(addressesOf(await add()), [first]);
      await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
      agent.signal(signal);
      const { code, stderr } = await agent.finished;
      assertEquals(code, signal === "SIGTERM" ? 0 : 137, stderr);
      await agent.allGone();
      assert(Deno.lstatSync(socketOf(sandbox)).isSocket, "the socket is systemd's");
    },
  );
}
