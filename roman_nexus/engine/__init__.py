"""The engine: from a request to a plan, from a plan to a result.

It knows steps by their declarations (`roman_nexus.steps.step.Step`) only; ``pipelines`` alone names them.
"""
