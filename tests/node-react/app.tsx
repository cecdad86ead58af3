// A page's components, which mount.mjs mounts: each shows what it knows of its job.
import { StrictMode } from 'react';
import type { Jobs } from 'jobws';
import { useJob } from 'jobws/react';

interface Techstack {
  languages: string[];
}

export interface Props {
  jobs: Jobs;
  jobId: string | null;
  queue: string;
  components: number;
}

function Job({ jobs, jobId, queue }: Omit<Props, 'components'>) {
  const job = useJob<Techstack, number>(jobs, jobId, { queue });
  let text = `${job.status} ${job.progress ?? '-'}`;
  if (job.status === 'completed') text += ` ${job.result.languages.join()}`;
  if (job.status === 'failed') text += ` ${job.error.reason}`;
  if (job.status === 'unknown' || job.status === 'removed') text += ` ${job.error.message}`;
  return <li>{text}</li>;
}

export function App({ components, ...rest }: Props) {
  return (
    <StrictMode>
      <ul>
        {[...Array(components).keys()].map((key) => (
          <Job key={key} {...rest} />
        ))}
      </ul>
    </StrictMode>
  );
}
