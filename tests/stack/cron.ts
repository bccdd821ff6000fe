/** What pg_cron does by itself on a real project, done here when it is told to. */
import { type Database, sqlError } from "./database.ts";

interface Job {
  jobid: number;
  command: string;
  database: string;
  username: string;
}

/** Runs every active job once, each as its owner, and keeps a row of each run, as pg_cron does. */
export async function runJobs(database: Database): Promise<void> {
  const jobs = await database.query<Job>(
    "select jobid, command, database, username from cron.job where active order by jobid",
  );
  for (const { jobid, command, ...job } of jobs) {
    const [{ runid }] = await database.query<{ runid: number }>(
      `insert into cron.job_run_details (jobid, database, username, command, status, start_time)
       values ($1, $2, $3, $4, 'running', clock_timestamp()) returning runid`,
      [jobid, job.database, job.username, command],
    );
    let [status, message] = ["succeeded", "1 row"];
    try {
      await database.transaction(job.username, (query) => query(command));
    } catch (error) {
      const sql = sqlError(error);
      if (!sql) throw error;
      [status, message] = ["failed", `ERROR:  ${sql.message}\n`];
      if (sql.detail) message += `DETAIL:  ${sql.detail}\n`;
    }
    await database.query(
      `update cron.job_run_details set status = $2, return_message = $3, end_time = clock_timestamp()
       where runid = $1`,
      [runid, status, message],
    );
  }
}
