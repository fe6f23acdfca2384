/**
 * The agent where IPv6 is wanted, too.
 *
 * @module
 */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { ExchangeResult6 } from "../exchange/run_exchange6.ts";
import { decodeMessage6 } from "../codec/message6.ts";
import { golden6 } from "../codec/testing_message6.ts";
import { zeroCounts6 } from "../exchange/counts6.ts";
import { Agent } from "./agent.ts";
import { cmdArgsOf, FakeAgentTools as Tools } from "./testing_agent.ts";
import { ackedResult, failedResult, settle } from "./testing_keeper.ts";

const never = new AbortController().signal;
const dual = { ipv6: "dhcp" };
const leased: ExchangeResult6 = {
  kind: "acked",
  ack: decodeMessage6(golden6.reply)!,
  age: 0,
  counts: zeroCounts6,
};
const unheard: ExchangeResult6 = {
  kind: "failed",
  message: "no more tries: 4 SOLICIT sent, 0 ADVERTISE received",
  counts: zeroCounts6,
};

/** Waits until servers are asked: making out who the client is takes a moment. */
async function asked(tools: Tools): Promise<void> {
  while (tools.pending6.length === 0) await settle();
}

/** An agent with both leases of `c1`, and nothing in the log. */
async function holding() {
  const tools = new Tools();
  const agent = new Agent(tools);
  const result = agent.allocate(cmdArgsOf({}, dual), never);
  await asked(tools);
  tools.only.end(ackedResult());
  tools.pending6[0]!.end(leased);
  await result;
  tools.news();
  return { tools, agent, result: await result };
}

Deno.test("both families are asked at one time, and answer as one", async () => {
  const { tools, agent, result } = await holding();
  assertEquals(result.ips, [
    { address: "192.168.1.5/24", gateway: "192.168.1.1" },
    { address: "2001:db8::5/128" },
  ]);
  assertEquals(result.dns.nameservers, ["2001:db8::53", "2001:db8::54"]);
  assertEquals([...tools.disk.keys()], ["/leases/net-c1-eth0.json", "/leases/net-c1-eth0.v6.json"]);
  assertEquals(agent.list().map(({ address }) => address), ["192.168.1.5", "2001:db8::5"]);
  assertEquals((await agent.check(cmdArgsOf({}, dual))).ips, result.ips);
  assertEquals(tools.intents.size, 0);
});

Deno.test("IPv6 alone asks no server of IPv4", async () => {
  const tools = new Tools();
  const result = new Agent(tools).allocate(cmdArgsOf({}, { ...dual, ipv4: "none" }), never);
  await asked(tools);
  assertEquals(tools.pending, []);
  const { job: { client, goal } } = tools.pending6[0]!;
  assertEquals([client.requested, client.rapidCommit, goal.kind], [[23, 24], false, "acquire"]);
  tools.pending6[0]!.end(leased);
  assertEquals((await result).ips.length, 1);
});

Deno.test("where IPv6 fails, the lease of IPv4 that came goes back", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const result = agent.allocate(cmdArgsOf({}, dual), never);
  await asked(tools);
  tools.only.end(ackedResult());
  await settle();
  assertEquals(agent.size, 1);
  tools.pending6[0]!.end(unheard);
  await assertRejects(() => result, Error, "IPv6: no more tries: 4 SOLICIT sent");
  assertEquals([agent.size, tools.disk.size, tools.intents.size], [0, 0, 0]);
  assertEquals(tools.news().includes("hold release 192.168.1.5 within 5000"), true);
});

Deno.test("where IPv4 fails, the exchange of IPv6 is called off", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const result = agent.allocate(cmdArgsOf({}, dual), never);
  await asked(tools);
  const { signal } = tools.pending6[0]!;
  tools.only.end(failedResult);
  await assertRejects(() => result, Error, "IPv4: no more tries");
  assertEquals([signal.aborted, agent.size], [true, 0]);
});

Deno.test("a lease of before stays where the other family fails", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const first = agent.allocate(cmdArgsOf(), never);
  await settle();
  tools.only.end(ackedResult());
  await first;
  const result = agent.allocate(cmdArgsOf({}, dual), never);
  await asked(tools);
  tools.pending6[0]!.end(unheard);
  await assertRejects(() => result, Error, "IPv6: ");
  assertEquals(agent.size, 1);
});

Deno.test("a release gives both back, whatever the configuration says by then", async () => {
  const { tools, agent } = await holding();
  await agent.release(cmdArgsOf());
  const holds = tools.news().filter((line) => line.startsWith("hold"));
  assertEquals(holds, [
    "hold release 192.168.1.5 within 5000",
    "hold6 release 2001:db8::5 within 5000",
  ]);
  assertEquals([agent.size, tools.disk.size], [0, 0]);
});

Deno.test("a renewal tells the interface how long it may use the address", async () => {
  const { tools } = await holding();
  await tools.clock.pass(150_000);
  const renewal = tools.pending6.find(({ job: holding }) => holding.goal.kind === "renew")!;
  renewal.end(leased);
  await settle();
  const given = tools.news().filter((line) => line.includes("addr"));
  assertEquals(given, [
    "ip addr replace 2001:db8::5/128 dev eth0 valid_lft 600 preferred_lft 300",
  ]);
});

Deno.test("an agent goes on with both families", async () => {
  const { tools, agent } = await holding();
  await agent.close();
  const next = new Agent(tools);
  next.resume();
  assertEquals(next.list().map(({ address }) => address), ["192.168.1.5", "2001:db8::5"]);
});

Deno.test("without its namespace a lease of IPv6 cannot be given back, and is forgotten", async () => {
  const { tools, agent } = await holding();
  tools.gone.add("/run/netns/c1");
  agent.sweep();
  await settle();
  const said = tools.said.filter((line) => line.includes("2001:db8::5"));
  assertMatch(said[0]!, /Cannot give "2001:db8::5" back: DHCPv6 is spoken on the link/);
  assertMatch(said[1]!, /the namespace is gone; the server cannot be told/);
  assertEquals([agent.size, tools.disk.size], [0, 0]);
});
