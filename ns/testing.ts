/**
 * A host for tests beside the code: answers from a script, plans recorded and not
 * carried out. It fails at the first query that the script has no answer for.
 *
 * @module
 */
import type { Command } from "../host/command.ts";
import { shellLine } from "../host/command.ts";
import { ActionError, isTolerated } from "../host/error.ts";
import type { Link } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import { describe } from "../host/step.ts";
import type { Host, QueryOptions } from "./machine.ts";

/** Answer of a program: text or JSON on stdout, or a failure with this stderr. */
export type FakeAnswer = string | readonly object[] | { readonly stderr: string };

/**
 * Answers commands by their shell line, and records what is applied. A query without
 * an answer fails. A step without an answer succeeds and prints nothing.
 *
 * @example Answer a query, and look at what is applied
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { parseLinks, setLink, shellLine, showLink } from "@denocni/denocni/host";
 * import { FakeHost } from "@denocni/denocni/testing";
 *
 * const host = new FakeHost({ [shellLine(showLink("eth0"))]: [{ ifname: "eth0", mtu: 1500, flags: [] }] });
 * const [link] = parseLinks(await host.query(showLink("eth0")) ?? "");
 * await host.apply([{
 *   why: "set the MTU",
 *   do: setLink("eth0", { mtu: 1400 }),
 *   undo: setLink("eth0", { mtu: link!.mtu }),
 * }]);
 * assertEquals(host.lines, ["ip link set dev eth0 mtu 1400"]);
 * assertEquals(host.undoLines, ["ip link set dev eth0 mtu 1500"]);
 * ```
 */
export class FakeHost implements Host {
  /** Plans are carried out, as far as the plugin can tell. */
  readonly dryRun = false;
  /** Shell lines of all queries, in order. */
  readonly asked: string[] = [];
  /** Steps that have been applied, in order, up to the first that failed. */
  readonly steps: Step[] = [];
  /** Calls of {@linkcode Host.onRollback}, in order. */
  readonly undos: { readonly why: string; readonly undo: () => Promise<void> }[] = [];

  /** `answers` are those to queries and steps, by the shell line of the command. */
  constructor(readonly answers: Readonly<Record<string, FakeAnswer>> = {}) {}

  /** Shell lines of the steps that have been applied. */
  get lines(): string[] {
    return this.steps.map(({ do: action }) => describe(action));
  }

  /** Shell lines with which a rollback would undo the steps, the last step first. */
  get undoLines(): string[] {
    return this.steps.flatMap(({ undo }) => undo ? [describe(undo)] : []).reverse();
  }

  /** Gives the answer to a command. Throws when there is none. */
  query(cmd: Command, options: QueryOptions = {}): Promise<string | undefined> {
    const line = shellLine(cmd);
    this.asked.push(line);
    const answer = this.answers[line];
    if (answer === undefined) return Promise.reject(new Error(`Unexpected query: ${line}`));
    if (!isFailure(answer)) return Promise.resolve(stdoutOf(answer));
    const error = failure({ why: options.why ?? line, do: cmd }, answer);
    const tolerated = options.tolerate?.includes(error.reason);
    return tolerated ? Promise.resolve(undefined) : Promise.reject(error);
  }

  /** Records steps. Throws at one whose answer is a failure that it does not tolerate. */
  apply(steps: readonly Step[]): Promise<string> {
    let printed = "";
    for (const step of steps) {
      const answer = this.answers[describe(step.do)] ?? "";
      const error = isFailure(answer) ? failure(step, answer) : undefined;
      if (error && !isTolerated(step, error)) return Promise.reject(error);
      this.steps.push(step);
      if (!isFailure(answer)) printed += stdoutOf(answer);
    }
    return Promise.resolve(printed);
  }

  /** Records what a rollback would call. */
  onRollback(why: string, undo: () => Promise<void>): void {
    this.undos.push({ why, undo });
  }
}

interface Failure {
  readonly stderr: string;
}

function isFailure(answer: FakeAnswer): answer is Failure {
  return typeof answer === "object" && "stderr" in answer;
}

function stdoutOf(answer: Exclude<FakeAnswer, Failure>): string {
  return typeof answer === "string" ? answer : JSON.stringify(answer);
}

function failure(step: Pick<Step, "why" | "do" | "meaning">, { stderr }: Failure): ActionError {
  return ActionError.fromOutput(step, { code: 1, signal: null, stdout: "", stderr });
}

/** A link as a query gives it: a plain one that is up, but for these fields. */
export function testLink(fields: Partial<Link> = {}): Link {
  return {
    name: "eth0",
    index: 7,
    kind: undefined,
    mac: "02:00:00:00:00:01",
    permanentMac: undefined,
    mtu: 1500,
    up: true,
    carrier: true,
    master: undefined,
    linkIndex: undefined,
    linkName: undefined,
    promiscuity: 0,
    promisc: false,
    allmulti: false,
    txQLen: 1000,
    altNames: [],
    hardware: undefined,
    alias: undefined,
    mode: undefined,
    vlanId: undefined,
    vrfTable: undefined,
    tun: undefined,
    vlanFiltering: false,
    defaultVlan: 1,
    hairpin: false,
    isolated: false,
    addresses: [],
    ...fields,
  };
}
