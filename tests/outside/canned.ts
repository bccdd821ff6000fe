/** Answers of a database that is not there, for tests in whose own process the function runs. */

/** What `begin_tick` answers where nothing is due. */
export const NOTHING_DUE = {
  outcome: "accepted",
  now: "2026-01-01T00:00:00+00:00",
  now_ms: 1_767_225_600_000,
  settings: {
    down_after_checks: 3,
    down_after_s: 55,
    up_after_checks: 2,
    request_timeout_ms: 1000,
    concurrency: 16,
    tick_budget_ms: 5000,
  },
  claimed: 0,
  more_due: false,
  report: null,
  instances: [],
};
