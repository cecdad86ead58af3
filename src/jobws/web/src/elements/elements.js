/**
 * The custom elements of jobws: `<jobws-job queue="http" job="42">` shows a job, live, in any page. A bridge serves this module
 * as `/elements.js`; importing it defines the elements.
 */

import { cameFrom, define, JobwsElement } from './element.js';
import { JobElement } from './job-element.js';
import { LogsElement } from './logs-element.js';
import { QueueElement } from './queue-element.js';

export { JobElement, JobwsElement, LogsElement, QueueElement };

cameFrom(import.meta.url);
define('jobws-job', JobElement);
define('jobws-queue', QueueElement);
define('jobws-logs', LogsElement);
