output "load_balancer_dns_name" {
  description = "Where hostname is to point (CNAME or alias)."
  value       = aws_lb.this.dns_name
}

output "load_balancer_zone_id" {
  description = "Zone of the load balancer, for an alias record."
  value       = aws_lb.this.zone_id
}

output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "log_group_name" {
  description = "Where all tasks log."
  value       = aws_cloudwatch_log_group.this.name
}

output "task_security_group_id" {
  description = "Security group of all tasks: let your Prometheus in on 8000, 9091 and 9092."
  value       = aws_security_group.tasks.id
}

output "database_endpoint" {
  description = "PostgreSQL, host:port, inside the network."
  value       = aws_db_instance.this.endpoint
}

output "manage_command" {
  description = "Put a manage.py command for the brackets: [\"python\",\"manage.py\",\"audit\"]. What it says is in the log group."
  value = format(
    "aws ecs run-task --cluster %s --launch-type FARGATE --task-definition %s --network-configuration '%s' --overrides '%s'",
    aws_ecs_cluster.this.name,
    aws_ecs_task_definition.this["scheduler"].family,
    jsonencode({ awsvpcConfiguration = { subnets = var.private_subnet_ids, securityGroups = [aws_security_group.tasks.id] } }),
    jsonencode({ containerOverrides = [{ name = "scheduler", command = [] }] })
  )
}
