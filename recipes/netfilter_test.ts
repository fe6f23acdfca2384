import { assertEquals, assertRejects } from "@std/assert";
import { command } from "../host/command.ts";
import { ActionError } from "../host/error.ts";
import type { Step } from "../host/step.ts";
import type { Host } from "../ns/machine.ts";
import { applyAssuming, applyListed, deleteChains, removeTogether } from "./netfilter.ts";

function step(why: string): Step {
  return { why, do: command("nft", ["-f", "-"], { stdin: `${why}\n` }) };
}

/** A host on which plans fail as told, in order; `undefined` succeeds. */
function scripted(...failures: readonly (string | undefined)[]) {
  const applied: string[] = [];
  const host: Host = {
    dryRun: false,
    query: () => Promise.reject(new Error("nothing is looked at")),
    apply: (steps) => {
      const stderr = failures[applied.length];
      applied.push(steps.map(({ why }) => why).join(", "));
      if (stderr === undefined) return Promise.resolve(`did ${applied.at(-1)}`);
      const output = { code: 1, signal: null, stdout: "", stderr };
      return Promise.reject(ActionError.fromOutput({ why: "do it", do: steps[0]!.do }, output));
    },
    onRollback: () => {},
  };
  return { host, applied };
}

const otherwise = (host: Host) => () => host.apply([step("second")]);

Deno.test("applyAssuming() stays with the assumption while it holds", async () => {
  const { host, applied } = scripted();
  const printed = await applyAssuming(host, {
    assumed: [step("first")],
    otherwise: otherwise(host),
  });
  assertEquals([printed, applied], ["did first", ["first"]]);
});

for (
  const stderr of [
    "iptables-restore: line 3 failed: Chain already exists.",
    "iptables-restore: line 2 failed: Bad rule (does a matching rule exist in that chain?).",
    // Legacy says no more than this.
    "iptables-restore: line 2 failed",
    "iptables-restore v1.8.9 (legacy): Couldn't load target `CNI-C':No such file or directory",
    "/dev/stdin:28:32-68: Error: Could not process rule: File exists",
  ]
) {
  Deno.test(`applyAssuming() looks again after "${stderr}"`, async () => {
    const { host, applied } = scripted(stderr);
    const printed = await applyAssuming(host, {
      assumed: [step("first")],
      otherwise: otherwise(host),
    });
    assertEquals([printed, applied], ["did second", ["first", "second"]]);
  });
}

for (
  const stderr of [
    "Another app is currently holding the xtables lock; still 9s 0us time ahead",
    "iptables-restore v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)",
    "Error: No space left on device",
  ]
) {
  Deno.test(`applyAssuming() gives up after "${stderr}"`, async () => {
    const { host, applied } = scripted(stderr);
    await assertRejects(
      () => applyAssuming(host, { assumed: [step("first")], otherwise: otherwise(host) }),
      Error,
      "Cannot do it",
    );
    assertEquals(applied, ["first"]);
  });
}

Deno.test("applyListed() lists once more when the rules have changed in between", async () => {
  const { host, applied } = scripted("Error: Could not process rule: No such file or directory");
  const lists = [["a", "b"], ["b"]];
  await applyListed(host, {
    list: () => Promise.resolve(lists.shift()),
    plan: (listed) => [step(`delete ${listed.join(" ")}`)],
  });
  assertEquals(applied, ["delete a b", "delete b"]);
});

Deno.test("applyListed() plans nothing for what is not there", async () => {
  const { host, applied } = scripted();
  await applyListed(host, {
    list: () => Promise.resolve(undefined),
    plan: () => [step("delete")],
  });
  assertEquals(applied, [""]);
});

Deno.test("removeTogether() does everything and tells of every failure", async () => {
  const done: string[] = [];
  const error = await assertRejects(() =>
    removeTogether("remove rules", [
      () => Promise.reject(new Error("first is broken")),
      () => Promise.resolve(void done.push("second")),
      () => Promise.reject(new Error("third is broken")),
    ])
  );
  assertEquals(done, ["second"]);
  const text = String(error);
  assertEquals([/first is broken/.test(text), /third is broken/.test(text)], [true, true]);
});

Deno.test("deleteChains() succeeds whether a chain exists or not", () => {
  assertEquals(deleteChains(["ip t a", "ip t b"]), [
    "add chain ip t a",
    "flush chain ip t a",
    "add chain ip t b",
    "flush chain ip t b",
    "delete chain ip t a",
    "delete chain ip t b",
  ]);
});
