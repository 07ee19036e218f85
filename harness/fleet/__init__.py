"""A fleet of instances under an autoscaler, simulated: demand, queues, AWS's rules, and the policy that is cheapest
within the SLO."""
