resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_service" "this" {
  for_each = local.roles

  name            = each.key
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.this[each.key].arn
  launch_type     = "FARGATE"
  desired_count   = each.key == "scheduler" ? 1 : local.counts[each.key].least

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.tasks.id]
  }

  dynamic "load_balancer" {
    for_each = each.key == "api" ? [1] : []

    content {
      target_group_arn = aws_lb_target_group.api.arn
      container_name   = "api"
      container_port   = 8000
    }
  }

  # Tasks wait for the migrations of their release, which may take a while.
  health_check_grace_period_seconds = each.key == "api" ? 300 : null

  depends_on = [
    aws_lb_listener_rule.api,
    aws_iam_role_policy.start,
    aws_secretsmanager_secret_version.secret_key,
    aws_secretsmanager_secret_version.jwt_signing_key,
    aws_secretsmanager_secret_version.database_url,
  ]

  lifecycle {
    ignore_changes = [desired_count] # who scales says how many
  }
}

# By processor time, the workers too: where it is a provider that holds up the queue, more of them would not help.
locals {
  counts = { api = var.api_count, worker = var.worker_count }
}

resource "aws_appautoscaling_target" "this" {
  for_each = local.counts

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this[each.key].name}"
  min_capacity       = each.value.least
  max_capacity       = each.value.most
}

resource "aws_appautoscaling_policy" "cpu" {
  for_each = aws_appautoscaling_target.this

  name               = "${var.name}-${each.key}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = each.value.service_namespace
  scalable_dimension = each.value.scalable_dimension
  resource_id        = each.value.resource_id

  target_tracking_scaling_policy_configuration {
    target_value      = 60
    scale_in_cooldown = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
