/** An agent that does not come is called again, and the caller is told. */

import { AgentWatch } from "./agentwatch";
import { AGENT_ABSENT, AGENT_LATE, CallProblem, type Problem, UNREACHABLE } from "./problems";

export interface CareEvents {
  problem(problem: Problem): void;
  solved(code: string): void;
}

export class AgentCare {
  readonly #watch = new AgentWatch({ late: () => this.#late(), lost: () => this.#lost() });
  #over = false;

  /** @param dispatch asks the box for an agent once more. */
  constructor(
    private readonly dispatch: () => Promise<void>,
    private readonly events: CareEvents,
  ) {}

  /** The room has an agent, or none. */
  see(present: boolean): void {
    if (!present) return this.#watch.absent();
    this.#watch.present();
    this.events.solved(AGENT_LATE.code);
    this.events.solved(AGENT_ABSENT.code);
  }

  /** The room itself is away: who is in it cannot be told. */
  rest(): void {
    this.#watch.present();
  }

  /** The call is over. */
  close(): void {
    this.#over = true;
    this.rest();
  }

  #late(): void {
    this.events.problem(AGENT_LATE);
    this.dispatch().catch((error: unknown) => {
      if (!this.#over) this.events.problem(error instanceof CallProblem ? error.problem : UNREACHABLE);
    });
  }

  #lost(): void {
    this.events.solved(AGENT_LATE.code);
    this.events.problem(AGENT_ABSENT);
  }
}
