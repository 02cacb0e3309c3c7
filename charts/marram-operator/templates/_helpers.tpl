{{- define "marram-operator.name" -}}
{{- if contains "marram-operator" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-marram-operator" (.Release.Name | trunc 34 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "marram-operator.selector" -}}
app.kubernetes.io/name: marram-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "marram-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{ include "marram-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: marram
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "marram-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* What it may do where it watches. */ -}}
{{- define "marram-operator.rules" -}}
- apiGroups: [marram.dev]
  resources: [marramclusters, buckets, accesskeys]
  verbs: [get, list, watch, patch, update]
- apiGroups: [marram.dev]
  resources: [clusteroperations]
  verbs: [get, list, watch, delete]
- apiGroups: [marram.dev]
  resources: [marramclusters/status, buckets/status, accesskeys/status, clusteroperations/status]
  verbs: [get, patch, update]
- apiGroups: [marram.dev]
  resources: [marramclusters/finalizers, buckets/finalizers, accesskeys/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [statefulsets, deployments]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [apps]
  resources: [statefulsets/scale]
  verbs: [get, patch, update]
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [pods, persistentvolumeclaims]
  verbs: [get, list, watch, patch, update, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts, secrets, configmaps]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [get, list, watch, create, patch]
{{- end -}}
