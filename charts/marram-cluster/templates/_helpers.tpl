{{- define "marram-cluster.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
app.kubernetes.io/name: marram
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "marram-cluster.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /*
How many nodes to say. Where others scale the cluster, an upgrade says what there is: to leave it out would take the field
away, which the API server refuses. Renderings that ask no cluster say nothing then.
*/ -}}
{{- define "marram-cluster.nodes" -}}
{{- if and .Values.storage.externallyScaled .Release.IsUpgrade -}}
{{- $live := lookup "marram.dev/v1alpha1" "MarramCluster" .Release.Namespace .Release.Name -}}
{{- with $live -}}{{ dig "spec" "storage" "nodes" "" . }}{{- end -}}
{{- else -}}
{{ .Values.storage.nodes }}
{{- end -}}
{{- end -}}
