"""Ask the agent of worker.py. The worker must be running."""

from worker import Question, agent

if __name__ == "__main__":
    result = agent.run(Question(mountains=["Everest", "Mont Blanc"]))
    print(result["answer"])
    print("tools used:", ", ".join(result["used"]))
