/**
 * Test helpers for leases of both families: scenarios of a lease's life, line by line, and damaged
 * leases on the disk.
 *
 * @module
 */
import type { Lease } from "./lease.ts";
import type { LeaseAction, LeaseEvent, LeaseState, LeaseStep } from "./lease_machine.ts";
import { advanceLease } from "./lease_machine.ts";

/** When the lease of most tests was requested. */
export const leaseStart = 1_700_000_000_000;

/** An event without its time. */
export type TimelessEvent<A> = LeaseEvent<A> extends infer E
  ? E extends LeaseEvent<A> ? Omit<E, "now"> : never
  : never;

/** Seconds since the start, the event then, and the expected actions. */
export type ScenarioLine<A> = readonly [
  at: number,
  event: TimelessEvent<A> | TimelessEvent<A>["kind"],
  expected: string,
];

/** Seconds since the start, and the actions then. */
export type ScenarioOutput = readonly [at: number, words: string];

/** Plays the life of a lease line by line, and writes the actions of the lease machine as text. */
export class LeaseScenario<A, G extends { readonly kind: string }> {
  readonly #addressOf: (lease: Lease<A>) => string;

  constructor(addressOf: (lease: Lease<A>) => string) {
    this.#addressOf = addressOf;
  }

  /** Text of an action: `wait 1800`, `renew 208`; times are seconds since the start. */
  readonly word = (action: LeaseAction<A, G>): string => {
    switch (action.kind) {
      case "wait":
        return `wait ${(action.until - leaseStart) / 1000}`;
      case "exchange":
        return `${action.goal.kind} ${action.within / 1000}`;
      case "release":
        return `${action.goal.kind} from ${action.from}`;
      case "end":
        return `end: ${action.reason}`;
      case "change":
        return `change ${this.#addressOf(action.before)} ${this.#addressOf(action.after)}`;
      default:
        return action.kind;
    }
  };

  /** Text of every action of a step. */
  words({ actions }: LeaseStep<A, G>): string {
    return actions.map(this.word).join(", ");
  }

  /** Plays a scenario; gives the time and actions of each line, and the last state. */
  play(
    first: LeaseStep<A, G>,
    lines: readonly ScenarioLine<A>[],
  ): { readonly outputs: ScenarioOutput[]; readonly state: LeaseState<A, G> } {
    let { state } = first;
    const outputs = lines.map(([at, event]): ScenarioOutput => {
      const whole = typeof event === "string" ? { kind: event } : event;
      const step = advanceLease(state, { ...whole, now: leaseStart + at * 1000 } as LeaseEvent<A>);
      state = step.state;
      return [at, this.words(step)];
    });
    return { outputs, state };
  }
}

/** The outputs of {@linkcode LeaseScenario.play} when every line gives the expected actions. */
export function expectedOf<A>(lines: readonly ScenarioLine<A>[]): ScenarioOutput[] {
  return lines.map(([at, _, expected]) => [at, expected]);
}

/** A value on the disk that is no lease, and the issue that its decoder reports. */
export type DamagedLease = readonly [what: string, value: unknown, issue: string];

const time = 'milliseconds since 1970 or "never"';
const order = "expireAt: expected since < renewAt ≤ rebindAt ≤ expireAt";

/** Damage to the JSON of a lease of either family, except to the content of its acknowledgement. */
export function damagedLeases(
  text: (parts: Partial<Record<keyof Lease<unknown>, unknown>>) => unknown,
  { times: { renewAt, rebindAt, expireAt }, ackText }: {
    /** Those of the lease that `text` writes. */
    readonly times: Readonly<Record<"renewAt" | "rebindAt" | "expireAt", number>>;
    /** `ack: expected … but received ` */
    readonly ackText: string;
  },
): DamagedLease[] {
  return [
    ["nothing", undefined, "expected object but received nothing"],
    ["a list", [], "expected object but received []"],
    ["no time", text({ renewAt: null }), `renewAt: expected ${time} but received null`],
    ["a negative time", text({ since: -1 }), `since: expected ${time} but received -1`],
    ["a broken time", text({ since: 1.5 }), `since: expected ${time} but received 1.5`],
    ["a time as text", text({ expireAt: "1" }), `expireAt: expected ${time} but received "1"`],
    [
      "an infinite time as a number",
      text({ expireAt: 1e999 }),
      `expireAt: expected ${time} but received null`,
    ],
    ["a lease of never", text({ since: "never" }), order],
    ["no time before T1", text({ since: renewAt }), order],
    ["T1 after T2", text({ renewAt: rebindAt + 1 }), order],
    ["T2 after the end", text({ rebindAt: expireAt + 1 }), order],
    ["no acknowledgement", text({ ack: "" }), `${ackText}""`],
    ["a number", text({ ack: 7 }), `${ackText}7`],
    ["half a byte", text({ ack: "0" }), `${ackText}"0"`],
    ["letters", text({ ack: "zz" }), `${ackText}"zz"`],
  ];
}
