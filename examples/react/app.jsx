// Follows as many jobs as one likes.
//   jobws serve --queues '*' --allow-origin http://127.0.0.1:8000
//   npm install && npm start                          # then http://127.0.0.1:8000
import { useState } from 'react';
import { createRoot } from 'react-dom/client';
import { io } from 'jobws';
import { useJob } from 'jobws/react';

const bridge = new URLSearchParams(location.search).get('bridge') ?? 'http://127.0.0.1:8787';
const jobs = io(bridge);

function Job({ queue, id }) {
  const { status, result, error, progress } = useJob(jobs, id, { queue });
  const text = {
    pending: `${progress ?? 0} %`,
    completed: JSON.stringify(result),
  }[status];
  return <li>{`${queue}/${id}: ${text ?? error.message}`}</li>;
}

function App() {
  const [followed, setFollowed] = useState([]);
  function follow(form) {
    setFollowed([...followed, { queue: form.get('queue'), id: form.get('job') }]);
  }
  return (
    <>
      <form action={follow}>
        <input name="queue" placeholder="queue" required />
        <input name="job" placeholder="job id" required />
        <button>Follow</button>
      </form>
      <ul>
        {followed.map((job, index) => (
          <Job key={index} {...job} />
        ))}
      </ul>
    </>
  );
}

createRoot(document.querySelector('main')).render(<App />);
