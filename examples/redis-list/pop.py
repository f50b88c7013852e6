"""Pop results of `segued bridge redis-list` and print them: python pop.py 127.0.0.1 6379."""

import json
import sys

import redis

client = redis.Redis(sys.argv[1], int(sys.argv[2]))
while popped := client.blpop(["audio_results_queue"], timeout=60):
    result = json.loads(popped[1])
    print(result["job_id"], result.get("error") or result["results"]["tracks"][0]["analysis"], flush=True)
