// npm hot-shots, as its documentation shows it.
const StatsD = require('hot-shots');

const client = new StatsD({
  host: '127.0.0.1',
  port: Number(process.argv[2]),
  prefix: 'node.',
  globalTags: { env: 'prod' },
  includeDatadogTelemetry: false,
  errorHandler: (error) => { throw error; },
});
client.increment('requests');
client.decrement('slots', 2);
client.gauge('heap', 93.5);
client.timing('render', 42, ['view:list']);
client.set('visitors', 'bob');
client.event('restart', 'after an update');
client.check('cache', client.CHECKS.OK, { message: 'warm' });
client.close();
