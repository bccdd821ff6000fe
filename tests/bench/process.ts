/** What a process costs, as Linux counts it; nothing elsewhere. */

/** Whether this system tells. */
export const MEASURES_PROCESSES = Deno.build.os === "linux";

/** Where the figures come from. */
export const RESOLUTION = MEASURES_PROCESSES
  ? "CPU: user + system of all threads, /proc/PID/task/*/schedstat, in ns (a thread that ended within a measurement is left out); memory: VmHWM, 4 kB"
  : "CPU and memory are measured on Linux alone";

/** What each thread of a process has used so far, in nanoseconds, by its id. */
export type CpuTimes = Map<string, number>;

/** The CPU time of each thread that the process has. */
export function cpuTimes(pid: number): CpuTimes {
  const times: CpuTimes = new Map();
  if (!MEASURES_PROCESSES) return times;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    try {
      const text = Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`);
      times.set(name, Number(text.split(" ")[0]));
    } catch {
      // The thread ended meanwhile.
    }
  }
  return times;
}

/** Milliseconds of CPU that the process has used since then. */
export function cpuMsSince(before: CpuTimes, pid: number): number {
  if (!MEASURES_PROCESSES) return NaN;
  let ns = 0;
  for (const [thread, now] of cpuTimes(pid)) ns += now - (before.get(thread) ?? 0);
  return ns / 1e6;
}

/** Forgets the peak of the process's memory so far. */
export function resetPeak(pid: number): void {
  if (MEASURES_PROCESSES) Deno.writeTextFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** The peak of the process's memory since then, in MB. */
export function peakMb(pid: number): number {
  return memoryMb(pid, "VmHWM");
}

/** The process's memory now, in MB. */
export function residentMb(pid: number): number {
  return memoryMb(pid, "VmRSS");
}

function memoryMb(pid: number, field: string): number {
  if (!MEASURES_PROCESSES) return NaN;
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(status.match(new RegExp(`^${field}:\\s*(\\d+) kB$`, "m"))![1]) / 1024;
}
