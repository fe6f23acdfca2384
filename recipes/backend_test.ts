import { assertEquals, assertRejects } from "@std/assert";
import type { Issue } from "../cni/decode.ts";
import { ActionError } from "../host/error.ts";
import { parseCidr } from "../host/ip.ts";
import { restore } from "../host/iptables.ts";
import type { Tool } from "../host/command.ts";
import type { Host } from "../ns/machine.ts";
import type { AddRequest, BackendChoice } from "./backend.ts";
import {
  addByChoice,
  applyIptables,
  backendDecoder,
  checkByChoice,
  chooseBackend,
} from "./backend.ts";

const hosts: readonly (readonly [string, readonly Tool[], BackendChoice])[] = [
  ["both", ["iptables-restore", "nft"], { backend: "iptables", fallback: "nftables" }],
  ["iptables alone", ["iptables-restore"], { backend: "iptables" }],
  ["nft alone", ["nft"], { backend: "nftables" }],
  ["neither", [], { backend: "iptables" }],
];

for (const [name, tools, choice] of hosts) {
  Deno.test(`chooseBackend() on a host with ${name}`, () => {
    const has = (tool: Tool) => tools.includes(tool);
    assertEquals(chooseBackend(undefined, has), choice);
    assertEquals(chooseBackend("iptables", has), { backend: "iptables" });
    assertEquals(chooseBackend("nftables", has), { backend: "nftables" });
  });
}

Deno.test("backendDecoder() words an unknown name as its plugin does", () => {
  const decoder = backendDecoder((name) => `no such backend "${name}"`);
  const messages = (value: unknown) => {
    const issues: Issue[] = [];
    decoder.decode(value, "backend", issues);
    return issues.map(({ message }) => message);
  };
  assertEquals(messages("nftables"), []);
  assertEquals(messages("ebtables"), ['no such backend "ebtables"']);
  assertEquals(messages(7), ['expected "iptables" or "nftables" but received 7']);
});

const addresses = ["10.0.0.2/24", "2001:db8::2/64"].map((text) => parseCidr(text)!);
const both: BackendChoice = { backend: "iptables", fallback: "nftables" };

Deno.test("addByChoice() hands what the first back end leaves to the fallback", async () => {
  const asked: (readonly [string, AddRequest])[] = [];
  const leaving = (count: number) => (backend: string, request: AddRequest) => {
    asked.push([backend, request]);
    return Promise.resolve(request.addresses.slice(0, count));
  };
  await addByChoice(both, { addresses, add: leaving(1) });
  assertEquals(asked.splice(0), [
    ["iptables", { addresses, giveWay: true }],
    ["nftables", { addresses: addresses.slice(0, 1), giveWay: false }],
  ]);
  await addByChoice(both, { addresses, add: leaving(0) });
  assertEquals(asked.splice(0).map(([backend]) => backend), ["iptables"]);
  await addByChoice({ backend: "nftables" }, { addresses, add: leaving(0) });
  assertEquals(asked, [["nftables", { addresses, giveWay: false }]]);
});

Deno.test("checkByChoice() is content when either back end has everything", async () => {
  const problems = async (iptables: string[], nftables: string[], choice = both) =>
    await checkByChoice(
      choice,
      (backend) => Promise.resolve(backend === "iptables" ? iptables : nftables),
    );
  assertEquals(await problems([], ["a"]), []);
  assertEquals(await problems(["a"], []), []);
  assertEquals(await problems(["a"], ["b"]), ["a"]);
  assertEquals(await problems(["a"], [], { backend: "iptables" }), ["a"]);
});

/** A host that refuses every plan as iptables does. */
const refusing: Host = {
  dryRun: false,
  query: () => Promise.reject(new Error("nothing is looked at")),
  apply: ([step]) => {
    const stderr = "iptables-restore: line 2 failed: Chain already exists.";
    const output = { code: 1, signal: null, stdout: "", stderr };
    return Promise.reject(ActionError.fromOutput(step!, output));
  },
  onRollback: () => {},
};

Deno.test("applyIptables() gives way, or fails with the first failure", async () => {
  const assumed = [{ why: "map a port", do: restore(4, "") }];
  const applied = (giveWay: boolean, printed: string | undefined) =>
    applyIptables(refusing, {
      family: 4,
      giveWay,
      assumed,
      otherwise: () => Promise.resolve(printed),
    });
  assertEquals(await applied(true, undefined), false);
  assertEquals(await applied(false, ""), true);
  await assertRejects(() => applied(false, undefined), Error, "Cannot map a port");
});
