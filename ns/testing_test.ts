import { assertEquals, assertRejects } from "@std/assert";
import { command } from "../host/command.ts";
import { ActionError } from "../host/error.ts";
import type { Step } from "../host/step.ts";
import { FakeHost } from "./testing.ts";

const look = command("ethtool", ["--show-offload", "eth0"]);
const line = "ethtool --show-offload eth0";
const change: Step = {
  why: "turn offloads off",
  do: command("ethtool", ["--offload", "eth0", "tx", "off"]),
  undo: command("ethtool", ["--offload", "eth0", "tx", "on"]),
};

Deno.test("FakeHost gives text as it is, and lists as JSON", async () => {
  assertEquals(await new FakeHost({ [line]: "tx: on\n" }).query(look), "tx: on\n");
  assertEquals(await new FakeHost({ [line]: [{ tx: true }] }).query(look), '[{"tx":true}]');
});

Deno.test("FakeHost fails at a query without an answer", async () => {
  const host = new FakeHost({});
  await assertRejects(() => host.query(look), Error, `Unexpected query: ${line}`);
  assertEquals(host.asked, [line]);
});

Deno.test("FakeHost fails a query as a program does, unless that is tolerated", async () => {
  const host = new FakeHost({ [line]: { stderr: "netlink error: No such device" } });
  const error = await assertRejects(() => host.query(look, { why: "look" }), ActionError);
  assertEquals([error.message, error.reason], [
    "Cannot look: netlink error: No such device",
    "missing",
  ]);
  assertEquals(await host.query(look, { tolerate: ["missing"] }), undefined);
});

Deno.test("FakeHost records steps, gives what they print, and tells what undoes them", async () => {
  const host = new FakeHost({ [line]: "tx: off\n" });
  const printed = await host.apply([change, { why: "look", do: look }]);
  assertEquals(printed, "tx: off\n");
  assertEquals(host.lines, ["ethtool --offload eth0 tx off", line]);
  assertEquals(host.undoLines, ["ethtool --offload eth0 tx on"]);
});

Deno.test("FakeHost fails at a step whose answer is a failure, and records none after it", async () => {
  const host = new FakeHost({ [line]: { stderr: "Operation not supported" } });
  const shown: Step = { why: "look", do: look };
  await assertRejects(() => host.apply([change, shown, change]), ActionError, "Cannot look: Oper");
  assertEquals(host.lines.length, 1);
  await host.apply([{ ...shown, tolerate: ["unsupported"] }, change]);
  assertEquals(host.lines.length, 3);
});
