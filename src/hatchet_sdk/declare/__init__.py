"""What an application declares: tasks, their options, the types of their inputs and outputs."""
