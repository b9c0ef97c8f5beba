import django.core.serializers.json
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('mlops', '0009_incident_events'),
        ('shelfops', '0004_job_run_deaths'),
    ]

    operations = [
        migrations.CreateModel(
            name='KeptAnswer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('made_of', models.CharField(max_length=64)),
                ('answer', models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder)),
                ('made_at', models.DateTimeField(auto_now=True)),
                ('customer', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='shelfops.customer')),
            ],
            options={
                'db_table': 'kept_answers',
                'constraints': [models.UniqueConstraint(fields=('customer', 'name'), name='one_answer_of_a_name')],
            },
        ),
    ]
