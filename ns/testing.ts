/**
 * A host for tests beside the code: answers from a script, plans noted and not
 * carried out. It fails on the first surprise.
 *
 * @module
 */
import type { Command } from "../host/command.ts";
import { shellLine } from "../host/command.ts";
import { ActionError } from "../host/error.ts";
import type { Link } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import { describe } from "../host/step.ts";
import type { Host, QueryOptions } from "./machine.ts";

/** What a program gives: JSON on stdout, or a failure with this stderr. */
export type FakeAnswer = readonly object[] | { readonly stderr: string };

/** Answers queries by their shell line. */
export class FakeHost implements Host {
  readonly dryRun = false;
  /** Shell lines of all queries, in order. */
  readonly asked: string[] = [];
  /** Everything that was to be done, in order. */
  readonly steps: Step[] = [];
  /** What a rollback would do, in order of its registration. */
  readonly undos: { readonly why: string; readonly undo: () => Promise<void> }[] = [];

  constructor(readonly answers: Readonly<Record<string, FakeAnswer>> = {}) {}

  /** Shell lines of everything that was to be done. */
  get lines(): string[] {
    return this.steps.map(({ do: action }) => describe(action));
  }

  query(cmd: Command, options: QueryOptions = {}): Promise<string | undefined> {
    const line = shellLine(cmd);
    this.asked.push(line);
    const answer = this.answers[line];
    if (answer === undefined) return Promise.reject(new Error(`Unexpected query: ${line}`));
    if (!("stderr" in answer)) return Promise.resolve(JSON.stringify(answer));
    const output = { code: 1, signal: null, stdout: "", stderr: answer.stderr };
    const error = ActionError.fromOutput({ why: options.why ?? line, do: cmd }, output);
    const tolerated = options.tolerate?.includes(error.reason);
    return tolerated ? Promise.resolve(undefined) : Promise.reject(error);
  }

  apply(steps: readonly Step[]): Promise<string> {
    this.steps.push(...steps);
    return Promise.resolve("");
  }

  onRollback(why: string, undo: () => Promise<void>): void {
    this.undos.push({ why, undo });
  }
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
